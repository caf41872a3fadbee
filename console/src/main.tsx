/** Starts the console. The fragment is taken out of the address by the first import, before anything is drawn. */
import './fragment.ts'
import { QueryClientProvider } from '@tanstack/react-query'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'
import { makeQueryClient } from './queries.ts'
import './style/base.css'
import './style/frame.css'
import './style/parts.css'
import './style/pages.css'
import './style/sending.css'

const root = document.querySelector('#root')
if (root === null) throw new Error('index.html has no #root')

createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={makeQueryClient()}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
)
