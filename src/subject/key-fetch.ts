import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import { isJsonObject } from '../lib/strict-json.ts'
import { waitUnder, withDeadline } from '../resilience/deadline.ts'
import { type AdmittedKeys, admitKeys } from './key-gate.ts'
import type { JsonDocuments, VerificationKey } from './keys.ts'
import type { AlgorithmName, KeySource } from './options.ts'

/** Where a failing or odd key source is told to the operator; a pino logger fits. */
export interface KeyFetchLog {
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
}

/** The keys of one source, fetched when needed and kept for a while. */
export interface KeyFetch {
  /**
   * What `pick` finds in the keys of the source; undefined when the source, read recently, has nothing that fits.
   * @throws {Refusal} `idp_keys_unavailable` when the source cannot be read and no usable copy has it.
   */
  find(
    pick: (keys: AdmittedKeys) => VerificationKey | undefined,
    signal: AbortSignal,
  ): Promise<VerificationKey | undefined>
}

interface Copy {
  readonly keys: AdmittedKeys
  readonly readAt: number
  /** Milliseconds for which it is fresh. */
  readonly life: number
}

const SECOND = 1000
const DEFAULT_LIFE = 600 * SECOND
const LEAST_LIFE = 60 * SECOND
const MOST_LIFE = 24 * 3600 * SECOND
/** How long after its freshness ended a copy still serves when the source cannot be read. */
const STALE_IF_ERROR = 24 * 3600 * SECOND
/** At most one reading in this time because of unknown key ids: they cost an attacker nothing (corpus row 29). */
const UNKNOWN_KID_COOLDOWN = 30 * SECOND
/** No new attempt for so long after one that failed. */
const FAILURE_BACKOFF = 5 * SECOND

interface KeyFetchDeps {
  readonly documents: JsonDocuments
  readonly clock: Clock
  readonly log?: KeyFetchLog
}

/** Fetches and keeps the keys of one source: one reading at a time, shared by all who wait. */
export function createKeyFetch(
  { documents, clock, log }: KeyFetchDeps,
  source: Exclude<KeySource, { kind: 'inline' }>,
  algorithms: readonly AlgorithmName[],
  timeoutMilliseconds: number,
): KeyFetch {
  let copy: Copy | undefined
  let failedAt: number | undefined
  let failure: unknown
  let reading: Promise<void> | undefined

  async function read(): Promise<void> {
    try {
      // A deadline of its own: the reading serves everyone, so the first caller's patience must not decide.
      const { keys, maxAgeSeconds } = await withDeadline(timeoutMilliseconds, (signal) =>
        readKeys(documents, source, algorithms, signal),
      )
      const life = maxAgeSeconds === undefined ? DEFAULT_LIFE : maxAgeSeconds * SECOND
      copy = { keys, readAt: clock.now(), life: Math.min(Math.max(life, LEAST_LIFE), MOST_LIFE) }
      failedAt = undefined
      if (keys.rejections.length > 0)
        log?.warn(
          { source: place(source), rejections: keys.rejections },
          'keys of a source were left out',
        )
    } catch (error) {
      failedAt = clock.now()
      failure = error
      log?.warn(
        { source: place(source), err: error, hasCopy: copy !== undefined },
        'a key source could not be read',
      )
    }
  }

  /** Starts a reading, or joins the one under way. It never rejects: its outcome is in the state above. */
  function refresh(): Promise<void> {
    reading ??= read().finally(() => {
      reading = undefined
    })
    return reading
  }

  const backsOff = (now: number): boolean =>
    failedAt !== undefined && isWithin(now, failedAt, FAILURE_BACKOFF)

  /** The copy as far as it may be used now: fresh, or stale while the source cannot be read. */
  function usable(now: number): Copy | undefined {
    return copy !== undefined && now < copy.readAt + copy.life + STALE_IF_ERROR ? copy : undefined
  }

  return {
    async find(pick, signal) {
      const now = clock.now()
      const current = usable(now)
      const found = current && pick(current.keys)
      if (current && isWithin(now, current.readAt, current.life)) {
        if (found) return found
        if (isWithin(now, current.readAt, UNKNOWN_KID_COOLDOWN)) return undefined
      } else if (found && failedAt !== undefined) {
        // The source failed last time: its stale copy serves at once, and one caller in a while tries again behind it.
        if (!backsOff(now)) void refresh()
        return found
      }
      if (!backsOff(now) && !(await isSettled(refresh(), signal))) {
        // This caller may wait no longer. A key of the expired copy is still a key: the source is too slow, which is an error.
        if (found) return found
        throw unavailable(signal.reason)
      }
      if (failedAt === undefined && copy !== undefined) return pick(copy.keys)
      const stale = usable(clock.now())
      const fallback = stale && pick(stale.keys)
      if (fallback) return fallback
      throw unavailable(failure)
    },
  }
}

async function readKeys(
  documents: JsonDocuments,
  source: Exclude<KeySource, { kind: 'inline' }>,
  algorithms: readonly AlgorithmName[],
  signal: AbortSignal,
): Promise<{ keys: AdmittedKeys; maxAgeSeconds: number | undefined }> {
  if (source.kind === 'jwksUri') {
    const { document, maxAgeSeconds } = await documents.fetch(source.uri, signal)
    return { keys: admitKeys(document, algorithms), maxAgeSeconds }
  }
  // OpenID Connect Discovery 1.0 §4: a slash at the end of the issuer is left out before the suffix.
  const base = source.issuer.endsWith('/') ? source.issuer.slice(0, -1) : source.issuer
  const metadata = (await documents.fetch(`${base}/.well-known/openid-configuration`, signal))
    .document
  if (!isJsonObject(metadata)) throw new Error('the discovery document is not a JSON object')
  // §4.3: a document that speaks for another issuer must not hand us keys (mix-up).
  if (metadata['issuer'] !== source.issuer)
    throw new Error('the discovery document names another issuer')
  const { document, maxAgeSeconds } = await documents.fetch(
    jwksUri(metadata, source.issuer),
    signal,
  )
  return { keys: admitKeys(document, advertised(metadata, algorithms)), maxAgeSeconds }
}

function jwksUri(metadata: Readonly<Record<string, unknown>>, issuer: string): string {
  const uri = metadata['jwks_uri']
  if (typeof uri !== 'string' || !URL.canParse(uri))
    throw new Error('the discovery document has no jwks_uri')
  const { protocol, username, password } = new URL(uri)
  const allowed = protocol === 'https:' || (protocol === 'http:' && issuer.startsWith('http://'))
  if (!allowed || username !== '' || password !== '')
    throw new Error('the jwks_uri of the discovery document is no plain https URL')
  return uri
}

/**
 * Our allow-list with what the issuer says it signs with first, so that a key without `alg` is pinned to what its issuer uses: many
 * publish RSA keys without one, which fit RS256 and PS256 alike. The list itself neither grows nor shrinks.
 */
function advertised(
  metadata: Readonly<Record<string, unknown>>,
  algorithms: readonly AlgorithmName[],
): readonly AlgorithmName[] {
  const named = metadata['id_token_signing_alg_values_supported']
  if (!Array.isArray(named)) return algorithms
  const rank = (alg: AlgorithmName): number => (named.includes(alg) ? 0 : 1)
  return algorithms.toSorted((one, other) => rank(one) - rank(other))
}

function place(source: Exclude<KeySource, { kind: 'inline' }>): string {
  return source.kind === 'discovery' ? source.issuer : source.uri
}

/** True in the given time after `since`; false also before it, so that a clock set back never freezes a wait. */
function isWithin(now: number, since: number, milliseconds: number): boolean {
  return now >= since && now < since + milliseconds
}

/** Waits for a shared reading, but no longer than this caller may; false when it had to give up. */
async function isSettled(reading: Promise<void>, signal: AbortSignal): Promise<boolean> {
  try {
    await waitUnder(reading, signal)
    return true
  } catch {
    return false
  }
}

function unavailable(cause: unknown): Refusal {
  return new Refusal(
    'idp_keys_unavailable',
    'The keys of the issuer could not be fetched. Try again in a few seconds.',
    { cause, retryAfterSeconds: 5 },
  )
}
