/** A small program of the benchmarks as its own process, so that it does not share our event loop. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const ROOT = new URL('../../', import.meta.url).pathname

export interface Tool {
  /** What it said when it was ready. */
  readonly firstLine: string
  readonly pid: number
  stop(): Promise<void>
}

function launch(main: string, args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [join(ROOT, main), ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
}

export async function startTool(main: string, args: readonly string[] = []): Promise<Tool> {
  const child = launch(main, args)
  const firstLine = await readLine(child, main)
  return {
    firstLine,
    pid: child.pid ?? Number.NaN,
    async stop() {
      if (child.exitCode !== null) return
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await ended
    },
  }
}

/** Runs it to its end. @returns the line that it said */
export async function lineOf(main: string, args: readonly string[]): Promise<string> {
  const child = launch(main, args)
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const line = await readLine(child, main)
  await ended
  return line
}

async function readLine(child: ChildProcess, main: string): Promise<string> {
  if (child.stdout !== null) for await (const line of createInterface({ input: child.stdout })) return line
  throw new Error(`${main} ended before it said anything`)
}
