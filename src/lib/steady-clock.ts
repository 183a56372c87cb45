/** A wall clock that does not jump with the machine's: time is an anchor plus what a monotonic clock has counted since. */
import type { Clock } from './clock.ts'
import { Refusal } from './refusal.ts'

/**
 * How the two clocks stand.
 * `steady`: the machine's wall clock agrees. `unsure`: it was stepped, and nobody has said yet who is right; nothing may be decided that
 * depends on the time. `overruled`: it was stepped, and others say that it is wrong; our own count goes on being used.
 */
export type ClockState = 'steady' | 'unsure' | 'overruled'

/** What an operator sees of the clock. */
export interface ClockFacts {
  readonly state: ClockState
  /** How far the wall clock is ahead of the time in use; milliseconds, negative when behind. */
  readonly wallAheadMilliseconds: number
  /** Steps noticed, and how many of them were followed because others confirmed them. */
  readonly steps: number
  readonly followed: number
}

/** Where events are told; a pino logger fits. */
export interface ClockLog {
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
}

/** What the clock is made of. */
export interface SteadyClockDeps {
  /** The machine's wall clock, which anybody may set; milliseconds since the epoch. */
  readonly wall: Clock
  /** Only grows, and stands still while the machine sleeps. */
  readonly monotonic: Clock
  /** Milliseconds since the start of the machine, sleep included. Slow to read: it is asked at the start and while there is doubt. */
  readonly uptime: Clock
  /**
   * What time it is by others, whom nobody sets together with this machine: the database, Vault. Milliseconds since the epoch; those that
   * did not answer are left out. Empty where there is nobody to ask.
   */
  readonly sources: (signal: AbortSignal) => Promise<readonly number[]>
  readonly log?: ClockLog
}

/** How much is tolerated. */
export interface SteadyClockOptions {
  /** A difference beyond it is a step. Up to it the wall clock is followed, slowly. */
  readonly stepMilliseconds: number
  /** How much faster or slower than the monotonic clock time may run to follow it. */
  readonly slewRate: number
  /** How far a source may be off and still confirm a time: its answer took a while, and an HTTP `Date` has no fractions. */
  readonly agreeMilliseconds: number
}

/**
 * 2 s: no token's `iat` is further ahead than that, whatever happens to the wall clock. 500 ppm: as NTP itself slews, so a leap second is
 * followed within the hour, and whoever moves the wall clock in small steps gains half a millisecond a second.
 */
export const STEADY_CLOCK_DEFAULTS: SteadyClockOptions = {
  stepMilliseconds: 2000,
  slewRate: 0.0005,
  agreeMilliseconds: 2000,
}

/** The time, and whether it can be relied on. */
export interface SteadyClock extends Clock {
  /** Whole milliseconds since the epoch. Goes back only when a step back was confirmed. Notices steps by being asked. */
  readonly now: () => number
  /** @throws {Refusal} `signer_unavailable` while the time is in doubt. Before anything is issued, and before a token is called active. */
  readonly mustBeSure: () => void
  /**
   * Asks others about a step, if there is one; else does nothing. Called every second or so: until then a step is in doubt. One call at a
   * time; never rejects. A step that was overruled is asked about again with every call: it may have been right after all.
   */
  readonly settle: (signal: AbortSignal) => Promise<void>
  facts(): ClockFacts
}

/**
 * Makes the clock; at its start the wall clock is believed.
 *
 * A monotonic clock is disciplined by NTP as the wall clock is, so the two drift apart only by steps: somebody set the clock, the machine
 * slept, or a virtual machine was moved. A step back would make expired tokens good again; a step ahead would make tokens that live longer
 * than they may, and rush keys through their lives. So a step is not followed before it is confirmed.
 */
export function createSteadyClock(
  { wall, monotonic, uptime, sources, log }: SteadyClockDeps,
  options: SteadyClockOptions = STEADY_CLOCK_DEFAULTS,
): SteadyClock {
  const { stepMilliseconds, slewRate, agreeMilliseconds } = options
  let time = wall.now()
  let readAt = monotonic.now()
  let bootedAt = time - uptime.now()
  let state: ClockState = 'steady'
  /** How far the wall clock was ahead when it was last judged; another difference is another step. */
  let judgedAhead = 0
  let steps = 0
  let followed = 0

  function advance(): number {
    const read = monotonic.now()
    const elapsed = Math.max(0, read - readAt)
    readAt = read
    time += elapsed
    const ahead = wall.now() - time
    if (Math.abs(ahead) <= stepMilliseconds) {
      if (state !== 'steady') tell('steady', ahead, 'the wall clock agrees again')
      const most = elapsed * slewRate
      time += Math.max(-most, Math.min(most, ahead))
    } else if (state === 'steady' || Math.abs(ahead - judgedAhead) > stepMilliseconds) {
      steps += 1
      tell('unsure', ahead, 'the wall clock was stepped; nothing is issued until others were asked')
    }
    return time
  }

  function tell(next: ClockState, ahead: number, message: string): void {
    state = next
    judgedAhead = ahead
    log?.warn({ clock: next, wallAheadMilliseconds: Math.round(ahead) }, message)
  }

  /** Who is right by others: true for the wall clock, false for our count, undefined when they cannot be understood. */
  function verdict(said: readonly number[], steady: number, stepped: number): boolean | undefined {
    let [forSteady, forWall] = [0, 0]
    for (const each of said) {
      const [toSteady, toWall] = [Math.abs(each - steady), Math.abs(each - stepped)]
      if (Math.min(toSteady, toWall) > agreeMilliseconds) continue
      if (toSteady <= toWall) forSteady += 1
      else forWall += 1
    }
    // Two who agree, or the only one there is.
    const enough = Math.min(2, said.length)
    if (Math.max(forSteady, forWall) < enough || forSteady === forWall) return undefined
    return forWall > forSteady
  }

  function judge(isWallRight: boolean | undefined, stepped: number, ahead: number): void {
    if (isWallRight === true) {
      time = stepped
      bootedAt = stepped - uptime.now()
      followed += 1
      tell('steady', 0, 'the step of the wall clock was confirmed and is followed')
    } else if (isWallRight === false && state === 'unsure') {
      tell('overruled', ahead, 'the wall clock is wrong: others say so; our own count goes on')
    } else if (isWallRight === undefined && state === 'overruled') {
      tell('unsure', ahead, 'others do not agree about the time any more; nothing is issued')
    }
  }

  return {
    // Whole, as Date.now() is: stores keep integers.
    now: () => Math.floor(advance()),
    mustBeSure() {
      advance()
      if (state === 'unsure')
        throw new Refusal(
          'signer_unavailable',
          'The clock of this server was changed and is being checked. Try again in a few seconds.',
          { retryAfterSeconds: 2 },
        )
    },
    async settle(signal) {
      const began = advance()
      if (state === 'steady') return
      const asked = await sources(signal).catch(() => [])
      const steady = advance()
      const stepped = wall.now()
      const ahead = stepped - steady
      // It was set right, or set once more, while we asked: what was said is about another step.
      if (Math.abs(ahead) <= stepMilliseconds) return
      if (Math.abs(ahead - judgedAhead) > stepMilliseconds) return
      // They looked at their clocks somewhere between the question and now.
      const half = (steady - began) / 2
      // Nobody answered: the machine itself knows whether it slept. If it did not, somebody set the clock, and that alone proves nothing.
      const said = asked.length > 0 ? asked.map((each) => each + half) : [bootedAt + uptime.now()]
      judge(verdict(said, steady, stepped), stepped, ahead)
    },
    facts: () => {
      const steady = advance()
      return { state, wallAheadMilliseconds: wall.now() - steady, steps, followed }
    },
  }
}
