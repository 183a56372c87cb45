import { setTimeout } from 'node:timers/promises'
import { type Clock, monotonicClock } from '../../lib/clock.ts'
import type { Random } from '../../lib/id.ts'
import { isJsonObject } from '../../lib/strict-json.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import type { Log } from '../../observe/log.ts'
import { jittered } from './jitter.ts'
import { createVaultLogins, failureOf, type VaultAuth } from './login.ts'
import { createVaultSession } from './session.ts'
import {
  createVaultTransport,
  type VaultAddress,
  type VaultAnswer,
  type VaultRequest,
} from './transport.ts'

/** What state a Vault is in; `down` also covers one that is not initialised and one that gives no answer. */
export type VaultHealth = 'ok' | 'sealed' | 'standby' | 'down'

/**
 * Calls Vault or OpenBao, and sees to the login. Paths are those of the API below `/v1/`.
 *
 * Every call settles before `signal` fires and within the client's own time limit. All but `health` reject with
 * {@link DependencyUnavailable} when there was no answer (not reachable, too slow, sealed, overloaded, no JSON), and with
 * {@link VaultError} when the answer was no.
 */
export interface VaultClient {
  /** The `data` member; undefined when there is nothing at `path`. A mount that is not there is an error, not "nothing". */
  read(path: string, signal: AbortSignal): Promise<Record<string, unknown> | undefined>
  /**
   * POST. The `data` member, or an empty object. Sent again after a failure unless `retry` is false: for calls that must not
   * happen twice.
   */
  write(
    path: string,
    body: object,
    signal: AbortSignal,
    options?: { readonly retry?: boolean },
  ): Promise<Record<string, unknown>>
  /** The names below `path`; none when there is nothing. */
  list(path: string, signal: AbortSignal): Promise<readonly string[]>
  /** Resolves also when there was nothing. */
  remove(path: string, signal: AbortSignal): Promise<void>
  /** Needs no token and no login. Never rejects. */
  health(signal: AbortSignal): Promise<VaultHealth>
  /** Gives the token back and ends every connection; calls under way fail. */
  close(): Promise<void>
}

/** Where Vault is, how to log in, and how long to wait. */
export interface VaultClientOptions extends VaultAddress {
  readonly auth: VaultAuth
  /** Limit of a call with all its attempts; default 2 s. */
  readonly timeoutMilliseconds?: number
}

interface VaultClientDeps {
  readonly random: Random
  readonly log?: Log | undefined
  readonly monotonic?: Clock
}

const TIMEOUT_MILLISECONDS = 2000
const RETRIES = 2
const FIRST_PAUSE_MILLISECONDS = 100

/** A client that connects and logs in at its first call. */
export function createVaultClient(
  { random, log, monotonic = monotonicClock }: VaultClientDeps,
  options: VaultClientOptions,
): VaultClient {
  const { auth, timeoutMilliseconds = TIMEOUT_MILLISECONDS } = options
  const transport = createVaultTransport(options)
  const logins = createVaultLogins(transport, auth)
  const session = createVaultSession({ logins, monotonic, random, log })

  const deadline = (signal: AbortSignal) =>
    AbortSignal.any([signal, AbortSignal.timeout(timeoutMilliseconds)])

  /** One attempt: with another token when the first was refused, once. */
  async function attempt(request: VaultRequest, signal: AbortSignal): Promise<VaultAnswer> {
    const token = await session.token(signal)
    const answer = await transport.send({ ...request, token }, signal)
    if (answer.status !== 403) return answer
    const other = await session.replace(token, signal).catch((error: unknown) => {
      // Vault did answer, and the answer was no: it must not turn into an outage, which a copy of the keys may bridge.
      if (error instanceof DependencyUnavailable) return undefined
      throw error
    })
    if (!other) return answer
    // Safe for every call: a refused one did nothing.
    const second = await transport.send({ ...request, token: other }, signal)
    if (second.status === 403) session.refusedAgain()
    return second
  }

  async function call(
    request: VaultRequest,
    callerSignal: AbortSignal,
    retries = RETRIES,
  ): Promise<VaultAnswer | undefined> {
    const signal = deadline(callerSignal)
    for (let failures = 0; ; failures += 1) {
      let pause = jittered(FIRST_PAUSE_MILLISECONDS * 2 ** failures, random)
      let failure: Error
      try {
        const answer = await attempt(request, signal)
        if (request.method !== 'POST' && isAbsent(answer)) return undefined
        const failed = failureOf(request, answer)
        if (!failed) return answer
        failure = failed
        pause = Math.max(pause, (answer.retryAfterSeconds ?? 0) * 1000)
      } catch (error) {
        if (!(error instanceof DependencyUnavailable)) throw error
        failure = error
      }
      const final = !(failure instanceof DependencyUnavailable) || failures >= retries
      // A pause beyond the limit would only make the caller wait for the same error.
      if (final || signal.aborted || pause >= timeoutMilliseconds) throw failure
      await setTimeout(pause, undefined, { signal }).catch(() => {
        throw failure
      })
    }
  }

  return {
    async read(path, signal) {
      const answer = await call({ method: 'GET', path }, signal)
      return answer && dataOf(answer)
    },
    async write(path, body, signal, { retry = true } = {}) {
      const request = { method: 'POST', path, body } as const
      const answer = await call(request, signal, retry ? RETRIES : 0)
      return answer ? dataOf(answer) : {}
    },
    async list(path, signal) {
      const answer = await call({ method: 'GET', path, query: 'list=true' }, signal)
      const names = answer && dataOf(answer)['keys']
      return Array.isArray(names) ? names.map(String) : []
    },
    async remove(path, signal) {
      await call({ method: 'DELETE', path }, signal)
    },
    async health(signal) {
      const request = { method: 'GET', path: 'sys/health', inNamespace: false } as const
      try {
        return healthOf(await transport.send(request, deadline(signal)))
      } catch {
        return 'down'
      }
    },
    async close() {
      await session.close()
      await transport.close()
    },
  }
}

/** Vault says "nothing here" as a 404 with an empty list of errors; a 404 with errors speaks of a missing mount. */
function isAbsent({ status, body }: VaultAnswer): boolean {
  if (status !== 404 || body === undefined) return false
  const { errors } = body
  // KV v2 answers a deleted version with its metadata.
  return Array.isArray(errors) ? errors.length === 0 : 'data' in body
}

function dataOf({ body }: VaultAnswer): Record<string, unknown> {
  const data = body?.['data']
  return isJsonObject(data) ? data : {}
}

function healthOf({ status }: VaultAnswer): VaultHealth {
  if (status === 200) return 'ok'
  if (status === 503) return 'sealed'
  // 429 standby, 472 disaster recovery, 473 performance standby.
  if (status === 429 || status === 472 || status === 473) return 'standby'
  return 'down'
}
