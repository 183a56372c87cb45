/** The part of the composition root that says what time it is. */
import { uptime } from 'node:os'
import type { Chore } from './compose-keys.ts'
import { type Clock, monotonicClock, systemClock } from './lib/clock.ts'
import { createSteadyClock } from './lib/steady-clock.ts'
import type { ClockGauges } from './observe/dependency-metrics.ts'
import type { Log } from './observe/log.ts'

const SETTLE_MILLISECONDS = 1000
const SETTLE_DEADLINE_MILLISECONDS = 2000

/** What time it is by somebody whose clock nobody sets together with ours; milliseconds since the epoch. */
export type TimeSource = (signal: AbortSignal) => Promise<number>

/** The time, and whether it is in doubt. */
export interface Time extends Clock {
  /** @throws {Refusal} `signer_unavailable` while the time is in doubt. */
  readonly mustBeSure: () => void
  readonly gauges: () => ClockGauges
  /** Asks others about a step of the clock; does nothing when there was none. */
  readonly settle: (signal: AbortSignal) => Promise<void>
}

/** A clock that is believed whatever it says: a test's. */
export function believed(clock: Clock): Time {
  return {
    now: () => clock.now(),
    mustBeSure: () => undefined,
    gauges: () => ({ isSure: true, wallAheadSeconds: 0, steps: 0 }),
    settle: () => Promise.resolve(),
  }
}

/** The clock of this machine, which does not jump with it; `others` are asked when it was set. */
export function machineTime(others: readonly TimeSource[], log: Log): Time {
  const clock = createSteadyClock({
    wall: systemClock,
    monotonic: monotonicClock,
    uptime: { now: () => uptime() * 1000 },
    async sources(signal) {
      const said = await Promise.allSettled(others.map((source) => source(signal)))
      return said.flatMap((each) =>
        each.status === 'fulfilled' && Number.isFinite(each.value) ? [each.value] : [],
      )
    },
    log,
  })
  return {
    now: clock.now,
    mustBeSure: clock.mustBeSure,
    settle: clock.settle,
    gauges() {
      const { state, wallAheadMilliseconds, steps } = clock.facts()
      return { isSure: state !== 'unsure', wallAheadSeconds: wallAheadMilliseconds / 1000, steps }
    },
  }
}

/** Looks once a second whether the clock was set. */
export function settling({ clock }: { readonly clock: Time }): Chore {
  return {
    everyMilliseconds: SETTLE_MILLISECONDS,
    deadlineMilliseconds: SETTLE_DEADLINE_MILLISECONDS,
    failed: 'clock not checked',
    work: clock.settle,
  }
}
