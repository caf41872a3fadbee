/*
 * The door of `npm start` and `npm run demo`: says in one sentence that Node is too old before anything is loaded
 * that an old Node cannot read. Written in the oldest JavaScript on purpose.
 */
'use strict'

var needed = 24
var programs = { start: './start.ts', demo: './demo.ts' }
var program = programs[process.argv[2]]
if (parseInt(process.versions.node, 10) < needed) {
  console.error(
    'Flovify Connect needs Node ' +
      needed +
      ' or newer, this is Node ' +
      process.versions.node +
      ': run it through npm (npm start), which uses the Node that npm ci installs, or install Node ' +
      needed +
      '.',
  )
  process.exitCode = 1
} else if (program === undefined) {
  console.error('Say which program to run: start or demo.')
  process.exitCode = 1
} else {
  // for this program and those that it starts
  process.env.NODE_COMPILE_CACHE =
    process.env.NODE_COMPILE_CACHE || require('node:path').join(__dirname, '../../node_modules/.cache/node')
  require('node:module').enableCompileCache(process.env.NODE_COMPILE_CACHE)
  import(program)
    .then((loaded) => loaded.main(process.argv.slice(3)))
    .catch((error) => {
      console.error(error)
      process.exitCode = 1
    })
}
