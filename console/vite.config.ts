/** Builds the console into `dist`. Nothing inline: the content security policy of the BFF allows files only. */
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// Built pages are for people, also when a test run (NODE_ENV=test) builds them: React's development build runs effects twice.
if (process.argv.includes('build')) process.env.NODE_ENV = 'production'

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react()],
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
})
