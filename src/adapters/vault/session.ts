import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/id.ts'
import type { Secret } from '../../lib/secret.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import type { Log } from '../../observe/log.ts'
import { DeadlineExceeded, waitUnder, withDeadline } from '../../resilience/deadline.ts'
import { createSingleFlight } from '../../resilience/single-flight.ts'
import { jittered } from './jitter.ts'
import type { VaultLease, VaultLogins } from './login.ts'
import { VaultError } from './vault-error.ts'

/** Our token: got by a login, prolonged while it can be, replaced when it cannot. */
export interface VaultSession {
  /**
   * A token that should be good now. Logs in when there is none; callers share one login, and none of them can end it.
   * @throws {DependencyUnavailable} when the login gets no answer, or `signal` fires first.
   * @throws {VaultError} when it is refused.
   */
  token(signal: AbortSignal): Promise<Secret>
  /**
   * Another token than the one that was just refused, or undefined when a new one would fare no better.
   * @throws as {@link VaultSession.token}.
   */
  replace(refused: Secret, signal: AbortSignal): Promise<Secret | undefined>
  /** Tells that the token from {@link VaultSession.replace} was refused as well: a right is missing, not a token. */
  refusedAgain(): void
  /** Stops renewing and gives the token back, if Vault answers quickly. */
  close(): Promise<void>
}

interface SessionDeps {
  readonly logins: VaultLogins
  /** Only grows: a wall clock that is set back would keep a dead token. */
  readonly monotonic: Clock
  readonly random: Random
  readonly log?: Log | undefined
}

interface Held extends VaultLease {
  /** What it was when we logged in; a renewal near the maximum gets less. */
  readonly fullTtlMilliseconds: number
  readonly endsAt: number
}

interface Trouble {
  readonly error: unknown
  readonly failures: number
  /** No login is tried before. */
  readonly until: number
}

/** A login has its own deadline: with a caller's, one impatient caller could end it for all. */
const LOGIN_MILLISECONDS = 5000
const REVOKE_MILLISECONDS = 500
/** So short that the retries of the call that met the failure still have a chance. */
const FIRST_PAUSE_MILLISECONDS = 25
const LONGEST_PAUSE_MILLISECONDS = 5000
/** A token in its last second, which can be neither renewed nor replaced yet, must not keep us busy. */
const SHORTEST_TIMER_MILLISECONDS = 250
/** Timers take no more than 2^31 ms, and a token without end is still looked after once a day. */
const LONGEST_TIMER_MILLISECONDS = 86_400_000
/**
 * A refusal for want of a right looks like one of a dead token. When a fresh token was refused too, the next refusals are taken
 * at their word for so long: else every call that may not be made would cost a login, and each login a lease.
 */
const FRUITLESS_MILLISECONDS = 10_000

/** A session that logs in at the first call. */
export function createVaultSession({ logins, monotonic, random, log }: SessionDeps): VaultSession {
  const flights = createSingleFlight<Held>()
  let held: Held | undefined
  let trouble: Trouble | undefined
  let timer: NodeJS.Timeout | undefined
  let takenAtWordUntil = Number.NEGATIVE_INFINITY
  let closed = false

  function hold(lease: VaultLease, fullTtlMilliseconds: number): Held {
    const { ttlMilliseconds } = lease
    held = { ...lease, fullTtlMilliseconds, endsAt: monotonic.now() + ttlMilliseconds }
    trouble = undefined
    clearTimeout(timer)
    if (Number.isFinite(ttlMilliseconds)) schedule((ttlMilliseconds * 2) / 3)
    return held
  }

  /** Up to a tenth early, so that replicas started together do not renew together. */
  function schedule(milliseconds: number): void {
    clearTimeout(timer)
    if (closed) return
    const early = jittered(milliseconds / 10, random)
    timer = setTimeout(
      () => void maintain().catch(() => undefined),
      Math.min(
        Math.max(milliseconds - early, SHORTEST_TIMER_MILLISECONDS),
        LONGEST_TIMER_MILLISECONDS,
      ),
    )
    timer.unref()
  }

  function login(): Promise<Held> {
    return flights.run('login', async () => {
      try {
        const lease = await withDeadline(LOGIN_MILLISECONDS, (signal) => logins.login(signal))
        if (trouble) log?.info({}, 'logged in to vault again')
        return hold(lease, lease.ttlMilliseconds)
      } catch (error) {
        throw noteFailure(error)
      }
    })
  }

  function noteFailure(thrown: unknown): unknown {
    const error = asLoginFailure(thrown)
    const failures = (trouble?.failures ?? 0) + 1
    const most = Math.min(FIRST_PAUSE_MILLISECONDS * 2 ** failures, LONGEST_PAUSE_MILLISECONDS)
    // Between half and all of it: full jitter could be nothing, and a login that fails is no reason to hurry.
    const pause = most / 2 + jittered(most / 2, random)
    trouble = { error, failures, until: monotonic.now() + pause }
    if (failures === 1) log?.warn({ err: error }, 'login to vault failed')
    return error
  }

  /** At two thirds of a token's life: prolongs it, or replaces it when that is refused or gains too little. */
  async function maintain(): Promise<void> {
    const lease = held
    if (!lease || closed) return
    try {
      if (lease.renewable) {
        const renewed = await withDeadline(LOGIN_MILLISECONDS, (signal) =>
          logins.renew(lease, signal),
        )
        if (held !== lease) return // replaced meanwhile
        // Near the maximum life Vault grants what is left of it.
        if (renewed.ttlMilliseconds > lease.fullTtlMilliseconds / 2) {
          hold(renewed, lease.fullTtlMilliseconds)
          return
        }
      }
    } catch (error) {
      if (!(error instanceof VaultError)) {
        retryMaintenance(lease)
        return
      }
    }
    await login().catch(() => retryMaintenance(lease))
  }

  /** The token in hand is good until it ends: calls go on with it, and the next attempt is made well before. */
  function retryMaintenance(lease: Held): void {
    if (held !== lease) return
    const left = lease.endsAt - monotonic.now()
    // After its end a call logs in.
    if (left > 0) schedule(Math.max(left / 4, FIRST_PAUSE_MILLISECONDS))
  }

  async function loginUnder(signal: AbortSignal): Promise<Held> {
    if (trouble && monotonic.now() < trouble.until && flights.size() === 0) throw trouble.error
    try {
      return await waitUnder(login(), signal)
    } catch (error) {
      if (!signal.aborted) throw error
      throw new DependencyUnavailable('Vault let us in too late.', { cause: error })
    }
  }

  return {
    async token(signal) {
      if (held && monotonic.now() < held.endsAt) return held.token
      return (await loginUnder(signal)).token
    },

    async replace(refused, signal) {
      // Another call has replaced it while this one was under way.
      if (held && held.token !== refused) return held.token
      if (monotonic.now() < takenAtWordUntil) return undefined
      // Until then the old one stays in hand: it may be good for other calls.
      return (await loginUnder(signal)).token
    },

    refusedAgain() {
      takenAtWordUntil = monotonic.now() + FRUITLESS_MILLISECONDS
    },

    async close() {
      closed = true
      clearTimeout(timer)
      const lease = held
      held = undefined
      if (!lease || monotonic.now() >= lease.endsAt) return
      // Best effort: a token that is not given back ends by itself.
      await withDeadline(REVOKE_MILLISECONDS, (signal) => logins.revoke(lease, signal)).catch(
        () => undefined,
      )
    },
  }
}

function asLoginFailure(error: unknown): Error {
  if (error instanceof DependencyUnavailable || error instanceof VaultError) return error
  if (error instanceof DeadlineExceeded)
    return new DependencyUnavailable('Vault gave no answer to a login in time.', { cause: error })
  const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : ''
  // No "unavailable": who takes the secret away from a server means to lock it out, and a copy of the keys must not get round that.
  return new Error(`What we log in to Vault with could not be read${code}.`)
}
