/**
 * Fuzzing: 10,000 spoilt requests for each verifier. To repeat a failure, give the `seed` and `path` of its message to
 * `fc.assert` as options.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gmailPushes, securityEvents } from './google.ts'
import { googleChannels } from './google-channels.ts'
import { jsonMutation } from './json-mutation.ts'
import { graphNotifications, relay } from './microsoft.ts'
import { graphResourceData } from './microsoft-resource-data.ts'
import { mutateRequest, requestMutation } from './request-mutation.ts'
import { believed, type Verifier } from './verifier.ts'

/** One line for each verifier. */
const VERIFIERS: Readonly<Record<string, () => Promise<Verifier>>> = {
  'Graph notifications': graphNotifications,
  'Graph resource data': graphResourceData,
  relay,
  'Gmail pushes': gmailPushes,
  'security events': securityEvents,
  'Google channels': googleChannels,
}
const CASES = 10_000

describe.each(Object.entries(VERIFIERS))('fuzzing %s', (_name, start) => {
  it(`WI-01 WI-10 WI-11 ${CASES} spoilt requests: no crash, nothing believed that is not proven, the genuine one accepted`, {
    timeout: 300_000,
  }, async () => {
    const verifier = await start()
    const uncaught: unknown[] = []
    const note = (error: unknown) => uncaught.push(error)
    process.on('unhandledRejection', note)
    const seen = { genuine: 0, accepted: 0, refused: 0 }
    const draw = fc.record({
      pick: fc.nat(11),
      claims: fc.oneof(
        { weight: 3, arbitrary: fc.constant([]) },
        {
          weight: 1,
          arbitrary: fc.array(jsonMutation(verifier.strangers.values), { minLength: 1, maxLength: 2 }),
        },
      ),
      forged: fc.oneof(
        { weight: 15, arbitrary: fc.constant(false) },
        { weight: 1, arbitrary: fc.constant(true) },
      ),
    })
    try {
      await fc.assert(
        fc.asyncProperty(draw, requestMutation(verifier.strangers), async (drawn, mutation) => {
          const request = mutateRequest(verifier.make(drawn), mutation)
          const accepted = believed(await verifier.judge(request))
          const believable = verifier.mayBelieve(request)
          expectNoMore(accepted, believable)
          seen[accepted === undefined ? 'refused' : 'accepted'] += 1
        }),
        { numRuns: CASES },
      )
      for (let pick = 0; pick < 12; pick += 1) {
        const request = verifier.make({ pick, claims: [], forged: false })
        expect(believed(await verifier.judge(request))).toEqual(verifier.mayBelieve(request))
        expect(believed(await verifier.judge(request))).toBeDefined()
        seen.genuine += 1
      }
    } finally {
      await new Promise((resolve) => setImmediate(resolve))
      process.off('unhandledRejection', note)
      await verifier.close()
    }
    expect(uncaught).toEqual([])
    expect(Object.keys(Object.prototype)).toEqual([])
    expect(Reflect.has({}, 'clientState')).toBe(false)
    // a harness that spoils all or nothing proves nothing
    expect(seen.genuine).toBe(12)
    expect(seen.accepted).toBeGreaterThan(CASES / 20)
    expect(seen.refused).toBeGreaterThan(CASES / 4)
  })
})

/** Everything believed may be believed, and as often as it was proven; what is proven nowhere is not accepted at all. */
function expectNoMore(
  accepted: readonly string[] | undefined,
  believable: readonly string[] | undefined,
): void {
  if (accepted === undefined) return
  if (believable === undefined) throw new Error(`accepted without proof: ${accepted.join(', ')}`)
  const left = [...believable]
  for (const label of accepted) {
    const at = left.indexOf(label)
    if (at === -1) throw new Error(`believed without proof: ${label}; proven: ${believable.join(', ')}`)
    left.splice(at, 1)
  }
}
