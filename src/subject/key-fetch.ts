import type { Clock } from '../lib/clock.ts'
import { isRefusal, Refusal } from '../lib/refusal.ts'
import { waitUnder } from '../resilience/deadline.ts'
import { UpstreamRefused } from '../resilience/upstream.ts'
import { isWithin, type KeyLog, type KeySetReader, type ReadSet } from './key-read.ts'
import type { VerificationKey } from './keys.ts'

/** The keys of one source, fetched when needed and kept for a while. */
export interface KeyFetch {
  /**
   * The key of this name; undefined when the source, read recently, has none.
   * @throws {Refusal} `idp_keys_unavailable` when the source cannot be read and no usable copy has the key; the reason of `signal`
   *   when that is a refusal and fires first.
   */
  find(kid: string, signal: AbortSignal): Promise<VerificationKey | undefined>
  /**
   * The key that took the place of `refuted`, under which a signature did not verify: an issuer may use a kid again. Undefined when it is
   * still the one, or gone, or the source may not be asked now.
   * @throws the reason of `signal` when that is a refusal and fires first.
   */
  findOther(
    kid: string,
    refuted: VerificationKey,
    signal: AbortSignal,
  ): Promise<VerificationKey | undefined>
}

interface Copy extends ReadSet {
  readonly byKid: ReadonlyMap<string, VerificationKey>
}

const SECOND = 1000
/** A copy past its life by no more than this serves at once and is read anew behind the answer; an older one is read first. */
const REVALIDATE = 60 * SECOND
/** How long after its freshness ended a copy still serves when the source cannot be read. */
const STALE_IF_ERROR = 24 * 3600 * SECOND
/**
 * At most one reading in this time because of what a token says: unknown key ids and wrong signatures cost an attacker nothing (corpus row
 * 29). Whoever sends them without end keeps it running, and a key published meanwhile is found by the next reading, so at most this much later.
 */
const COOLDOWN = 10 * SECOND
/** No new attempt for so long after one that failed. */
const FAILURE_BACKOFF = 5 * SECOND
/** A kid that a reading did not bring causes no other one for so long; its token may have been faster than the publication of its key. */
const ABSENT_LIFE = 120 * SECOND
/** Kids remembered as absent. They are chosen by attackers, so they are few and short; more only cost readings that the cooldown bounds. */
const MOST_ABSENT = 256
const LONGEST_ABSENT = 128
/** Callers that may wait for one reading. */
const MOST_WAITING = 1000

interface KeyFetchDeps {
  readonly reader: KeySetReader
  readonly clock: Clock
  readonly log?: KeyLog | undefined
  /** What the source is called in the log. */
  readonly place: string
}

/** Keeps the keys of one source: one reading at a time, shared by all who wait. */
export function createKeyFetch({ reader, clock, log, place }: KeyFetchDeps): KeyFetch {
  let copy: Copy | undefined
  let last: { readonly at: number; readonly error: unknown } | undefined
  let reading: Promise<void> | undefined
  let restoring: Promise<void> | undefined
  let waiting = 0
  let warnedOf = ''
  const absent = new Map<string, number>()

  /** The new set replaces the old one whole: a key that is not in it is gone (never merged, or a withdrawn key would live on). */
  function adopt(set: ReadSet): void {
    const before = copy?.byKid
    const byKid = new Map<string, VerificationKey>()
    for (const key of set.admitted.keys) {
      if (key.kid === undefined) continue
      // The same key stays the same object: tokens verified by it are remembered by that object, and forged kids that cause readings
      // would otherwise make every good token be verified again.
      const known = before?.get(key.kid)
      byKid.set(key.kid, known && isSameKey(known, key) ? known : key)
    }
    copy = { ...set, byKid }
    absent.clear()
    const rejections = JSON.stringify(set.admitted.rejections)
    if (rejections !== '[]' && rejections !== warnedOf)
      log?.warn(
        { source: place, rejections: set.admitted.rejections },
        'keys of a source were left out',
      )
    warnedOf = rejections
  }

  async function read(): Promise<void> {
    try {
      const hasGoodCopy = (usable(clock.now())?.byKid.size ?? 0) > 0
      adopt(await reader.read(hasGoodCopy))
      last = { at: clock.now(), error: undefined }
    } catch (error) {
      last = { at: clock.now(), error }
      log?.warn(
        { source: place, err: error, hasCopy: copy !== undefined },
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

  async function restore(): Promise<void> {
    const kept = await reader.restore()
    if (kept !== undefined && copy === undefined) adopt(kept)
  }

  const isFailing = (): boolean => last?.error !== undefined

  const hasRested = (now: number, milliseconds: number): boolean =>
    last === undefined || !isWithin(now, last.at, milliseconds)

  /** The copy as far as it may be used now: fresh, or stale while the source cannot be read. */
  function usable(now: number): Copy | undefined {
    return copy !== undefined && now < copy.readAt + copy.life + STALE_IF_ERROR ? copy : undefined
  }

  /** Waits for the reading, but no longer than this caller may. @throws {Refusal} when it had to give up. */
  async function awaitReading(signal: AbortSignal): Promise<void> {
    if (waiting >= MOST_WAITING) throw unavailable(new Error('too many callers wait for the keys'))
    waiting += 1
    try {
      await waitUnder(refresh(), signal)
    } catch (error) {
      throw isRefusal(error) ? error : unavailable(error)
    } finally {
      waiting -= 1
    }
  }

  function isAbsent(kid: string, now: number): boolean {
    const since = absent.get(kid)
    return since !== undefined && isWithin(now, since, ABSENT_LIFE)
  }

  function noteAbsent(kid: string): void {
    reader.missed()
    if (kid.length > LONGEST_ABSENT) return
    absent.delete(kid)
    absent.set(kid, clock.now())
    const [oldest] = absent.keys()
    if (absent.size > MOST_ABSENT && oldest !== undefined) absent.delete(oldest)
  }

  /** Whether a copy past its life may answer without a reading before the answer: not after hours in which nobody asked its source. */
  function servesAtOnce(current: Copy, now: number): boolean {
    return (
      isWithin(now, current.readAt, current.life + REVALIDATE) ||
      (isFailing() && !hasRested(now, REVALIDATE))
    )
  }

  return {
    async find(kid, signal) {
      if (copy === undefined) await waitUnder((restoring ??= restore()), signal).catch(giveUp)
      const now = clock.now()
      const current = usable(now)
      const found = current?.byKid.get(kid)
      const isFresh = current !== undefined && isFreshAt(current, now)
      if (found && isFresh) return found
      if (found && current && servesAtOnce(current, now)) {
        if (hasRested(now, FAILURE_BACKOFF)) void refresh()
        return found
      }
      if (isFresh && !isFailing() && isAbsent(kid, now)) return undefined
      const rest = isFresh ? COOLDOWN : FAILURE_BACKOFF
      const reads = reading !== undefined || hasRested(now, rest)
      if (reads) await awaitReading(signal)
      const after = usable(clock.now())
      const key = after?.byKid.get(kid)
      if (key) return key
      if (after === undefined || isFailing() || last === undefined) throw unavailable(last?.error)
      if (reads) noteAbsent(kid)
      return undefined
    },

    async findOther(kid, refuted, signal) {
      const now = clock.now()
      if (copy?.byKid.get(kid) === refuted) {
        if (reading === undefined && !hasRested(now, COOLDOWN)) return undefined
        if (waiting >= MOST_WAITING) return undefined
        await awaitReading(signal)
      }
      const key = usable(clock.now())?.byKid.get(kid)
      return key === refuted ? undefined : key
    },
  }
}

/** What a disk remembers is never fresh: whatever it says is read anew as soon as the source answers. */
function isFreshAt({ readAt, life, isRestored }: ReadSet, now: number): boolean {
  return !isRestored && isWithin(now, readAt, life)
}

function isSameKey(one: VerificationKey, other: VerificationKey): boolean {
  return one.alg === other.alg && one.key.equals(other.key)
}

function giveUp(reason: unknown): never {
  throw isRefusal(reason) ? reason : unavailable(reason)
}

function unavailable(cause: unknown): Refusal {
  const backoff = FAILURE_BACKOFF / SECOND
  const retryAfterSeconds =
    cause instanceof UpstreamRefused ? Math.max(backoff, cause.retryAfterSeconds) : backoff
  return new Refusal(
    'idp_keys_unavailable',
    'The keys of the issuer could not be fetched. Try again in a few seconds.',
    { cause, retryAfterSeconds },
  )
}
