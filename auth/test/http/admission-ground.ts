/** The admission of a server that a test builds by itself: one service secret, sessions as given, no named callers. */
import type { AdmissionNeeds } from '../../src/http/admission.ts'
import { openServiceGate } from '../../src/http/service-gate.ts'
import { monotonicMs } from '../../src/platform/clock.ts'
import type { Log } from '../../src/platform/log.ts'
import type { Metrics } from '../../src/platform/metrics.ts'

export const admissionOf = (parts: {
  serviceSecret: string
  session: AdmissionNeeds['session']
  metrics: Metrics
  log: Log
}): AdmissionNeeds => ({
  gate: openServiceGate({
    serviceSecret: parts.serviceSecret,
    caller: async () => undefined,
    monotonicMs,
    log: parts.log,
  }),
  session: parts.session,
  denied: async () => undefined,
  metrics: parts.metrics,
})
