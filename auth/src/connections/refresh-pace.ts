/**
 * When a refresh may begin: turns of `auth.refresh_pace`, so that all processes together keep a provider's rate. Workers
 * take turns only a quarter of a second ahead and readers up to some seconds, so a reader never waits behind a backlog of
 * work. A turn that this process is late for is not used but taken anew: begun late, it would meet the turns of others.
 * Also how a provider that is down, or that asks to be left alone, is spared by everybody. Never asks a provider.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Failure } from '@flovify/providers'
import type { Db } from '../db/sql.ts'
import type { Log } from '../platform/log.ts'
import {
  countFailure,
  DOWN_AFTER,
  endAlarms,
  endPause,
  findHeldSeconds,
  type TakenTurn,
  takeTurn,
} from './refresh-pace-store.ts'
import { askedSeconds } from './refresh-schedule.ts'

export interface RefreshTurn {
  /** Monotonic. */
  readonly startMs: number
  readonly latestMs: number
  /** The provider counts as down: this one request finds out. */
  readonly probe: boolean
  /** Something was wrong when the turn was taken: a success has to be written down. */
  readonly troubled: boolean
}

export type RefreshBegin =
  | { readonly kind: 'begin'; readonly turn: RefreshTurn }
  | { readonly kind: 'later'; readonly inSeconds: number }

export interface RefreshPace {
  /** Makes a turn of what a claim took. @param sentMs monotonic, before the claim was sent */
  turnOf(taken: TakenTurn, sentMs: number): RefreshTurn
  /** Waits until the turn begins. @param turn none, or one that is past: another is taken */
  begin(provider: string, turn: RefreshTurn | undefined, signal?: AbortSignal): Promise<RefreshBegin>
  /** Seconds for which the provider is left alone; 0 when it may be asked. */
  heldSeconds(provider: string): Promise<number>
  /** The provider answered something that is no sign of being down. @param worked the answer was tokens */
  answered(provider: string, turn: RefreshTurn, worked: boolean): Promise<void>
  /** It failed, or asked to be left alone. */
  failed(provider: string, turn: RefreshTurn, failure: Failure): Promise<void>
}

/** A request that begins no later than this still arrives within its window (refresh-pace-store.ts). */
const LATE_MS = 150
const WAIT_SECONDS = 4
const TRIES = 3

export function openRefreshPace(needs: {
  readonly db: Db
  readonly log: Log
  readonly monotonicMs: () => number
  readonly random: () => number
}): RefreshPace {
  const turnOf = (taken: TakenTurn, sentMs: number): RefreshTurn => {
    const waitMs = Math.max(0, taken.in_seconds) * 1000
    return {
      // the statement ran between the two: never early, and late by what is known
      startMs: needs.monotonicMs() + waitMs,
      latestMs: sentMs + waitMs + LATE_MS,
      probe: taken.failures >= DOWN_AFTER,
      troubled: taken.failures > 0 || taken.alarmed,
    }
  }
  return {
    turnOf,
    heldSeconds: (provider) => findHeldSeconds(needs.db, provider),
    async begin(provider, given, signal) {
      let turn = given
      for (let tries = 0; tries < TRIES; tries += 1) {
        if (turn === undefined) {
          const sentMs = needs.monotonicMs()
          const taken = await takeTurn(needs.db, provider, WAIT_SECONDS)
          if (taken === undefined)
            return {
              kind: 'later',
              inSeconds: Math.max(WAIT_SECONDS, await findHeldSeconds(needs.db, provider)),
            }
          turn = turnOf(taken, sentMs)
        }
        if (!(await waited(turn.startMs - needs.monotonicMs(), signal)))
          return { kind: 'later', inSeconds: 1 }
        if (needs.monotonicMs() <= turn.latestMs) return { kind: 'begin', turn }
        turn = undefined
      }
      return { kind: 'later', inSeconds: 1 }
    },
    async answered(provider, turn, worked) {
      if (!turn.troubled) return
      await endPause(needs.db, provider)
      if (!worked) return
      for (const code of await endAlarms(needs.db, provider))
        needs.log.info({ provider, code }, 'the provider accepts our credentials and requests again')
    },
    async failed(provider, turn, failure) {
      await countFailure(needs.db, {
        provider,
        probe: turn.probe,
        askedSeconds: askedSeconds(failure) ?? 0,
        random: needs.random(),
      })
    },
  }
}

/** @returns false when it was aborted */
async function waited(ms: number, signal: AbortSignal | undefined): Promise<boolean> {
  if (signal?.aborted === true) return false
  if (ms <= 0) return true
  try {
    await pause(ms, undefined, signal === undefined ? {} : { signal })
    return true
  } catch {
    return false
  }
}
