import { describe, expect, it } from 'vitest'
import { errorFields, openLog } from '../../../auth/src/platform/log.ts'
import { HOSTILE } from './hostile-inputs.ts'

describe('a line of the log', () => {
  it('OP-02 stays one capped line of JSON whatever a field holds', () => {
    const written: string[] = []
    const log = openLog({ write: (line: string) => void written.push(line) })
    const error = Object.assign(new Error(HOSTILE), { code: HOSTILE })
    error.name = HOSTILE
    log.info({ value: HOSTILE }, 'a hostile value')
    log.child({ value: HOSTILE }).warn(errorFields(error), 'a hostile error')
    expect(written).toHaveLength(2)
    for (const line of written) {
      expect(line.endsWith('\n')).toBe(true)
      const body = line.slice(0, -1)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      expect(body).not.toMatch(/[\u0000-\u001f]/)
      expect(body.length).toBeLessThan(4_096)
      expect(JSON.parse(body)).not.toHaveProperty('forged')
    }
  })
})
