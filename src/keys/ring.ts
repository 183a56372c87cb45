/**
 * The key ring of a tenant as a value, and the only ways it may change.
 *
 * Every transition is pure: it gets the time, returns a new ring with the next version, or throws a {@link RingError}
 * and changes nothing. Whoever calls it writes the result by compare-and-set, so replicas that race need no leader.
 */
import type { SigningAlgorithm } from './options.ts'

/** Where a key is in its life. A private half exists up to `active`. */
export type KeyState = 'staged' | 'published' | 'active' | 'verify-only' | 'retired' | 'compromised'

/** One key of a ring: its public half and its history. Times are milliseconds since the epoch. */
export interface RingKey {
  readonly kid: string
  readonly alg: SigningAlgorithm
  readonly state: KeyState
  /** Public JWK without `kid`, `use`, `alg` (RFC 7517 §4). */
  readonly publicJwk: Readonly<Record<string, string>>
  readonly createdAt: number
  readonly publishedAt?: number
  readonly activatedAt?: number
  /** When it stopped signing. */
  readonly verifyOnlyAt?: number
  readonly retiredAt?: number
  /** Why it is in this state, and who brought it there. */
  readonly reason: string
  readonly by: string
}

/** All keys of one tenant: an immutable value, replaced whole. */
export interface Ring {
  /** Grows by one with every change. */
  readonly version: number
  readonly keys: readonly RingKey[]
}

/** A key that has no history yet. */
export type NewKey = Pick<RingKey, 'kid' | 'alg' | 'publicJwk'>

/** What an algorithm starts with: a key that signs at once and the one that will follow it. */
export interface FirstKeys {
  readonly active: NewKey
  readonly successor: NewKey
}

/** Who changes a ring, when (milliseconds since the epoch) and why. */
export interface RingChange {
  readonly now: number
  readonly by: string
  readonly reason: string
}

/** The waits that keep verifiers from ever meeting a token they cannot check. */
export interface RingPolicy {
  /** How long a key is in JWKS before it may sign. */
  readonly publishAheadMilliseconds: number
  /** The longest life of a token that any key may have signed. */
  readonly longestTokenMilliseconds: number
  /** How far the clock of a verifier or a replica may be off. */
  readonly skewMilliseconds: number
}

/** Why a ring did not change. Stable: the admin API and the command line are written against it. */
export type RingErrorReason =
  | 'published_too_recently'
  | 'no_successor'
  | 'algorithm_not_in_ring'
  | 'algorithm_already_in_ring'
  | 'kid_already_used'
  | 'changed_meanwhile'

/** A transition that the ring does not allow. The message is for the operator and holds no secret. */
export class RingError extends Error {
  override readonly name = 'RingError'
  readonly reason: RingErrorReason
  /** With `published_too_recently`: the first instant at which the same change is allowed (milliseconds since the epoch). */
  readonly allowedFrom: number | undefined

  constructor(reason: RingErrorReason, message: string, allowedFrom?: number) {
    super(message)
    this.reason = reason
    this.allowedFrom = allowedFrom
  }
}

/**
 * How much longer a key stays in JWKS than its tokens need. A replica that has not read the rotation yet goes on
 * signing with the old key for a moment; the tokens it makes then must still find their key.
 */
const LATE_REPLICA_MILLISECONDS = 3_600_000

/** The algorithms of a ring: those with an active key, in the order they came. */
export function algorithmsOf(ring: Ring): readonly SigningAlgorithm[] {
  return ring.keys.filter(({ state }) => state === 'active').map(({ alg }) => alg)
}

/** The key that signs for this algorithm, or undefined when the ring has none. */
export function activeKey(ring: Ring, alg: SigningAlgorithm): RingKey | undefined {
  return ring.keys.find((key) => key.alg === alg && key.state === 'active')
}

/** When a published key may become active (milliseconds since the epoch). */
export function activatableFrom(key: RingKey, policy: RingPolicy, now: number): number {
  return (key.publishedAt ?? now) + policy.publishAheadMilliseconds
}

/** The first ring of a tenant. Its active keys sign at once: with no token issued yet, no verifier can hold an older JWKS. */
export function newRing(first: readonly FirstKeys[], change: RingChange): Ring {
  return { version: 1, keys: withFirstKeys([], first, change, 'first key of the ring') }
}

/**
 * Gives a ring the keys of algorithms that came into use later.
 *
 * The first key of an algorithm signs at once too: the alternative is to issue nothing for those targets until
 * `publishAhead` has passed. The exemption is recorded in the key's `reason`.
 *
 * @throws {RingError} `algorithm_already_in_ring`, `kid_already_used`.
 */
export function addAlgorithms(
  ring: Ring,
  first: readonly FirstKeys[],
  policy: RingPolicy,
  change: RingChange,
): Ring {
  return advance(ring, policy, change, (keys) =>
    withFirstKeys(keys, first, change, 'first key of the algorithm'),
  )
}

/**
 * Puts one more successor into JWKS; it signs no sooner than `publishAhead` from now.
 *
 * @throws {RingError} `algorithm_not_in_ring`, `kid_already_used`.
 */
export function publish(ring: Ring, key: NewKey, policy: RingPolicy, change: RingChange): Ring {
  mustHaveAlgorithm(ring, key.alg)
  return advance(ring, policy, change, (keys) => [...keys, published(keys, key, change)])
}

/**
 * Changes the signing key of each algorithm named by `successors`: the successor published longest ago becomes active,
 * the active key becomes verify-only, and the new key is published in its place. All of them change or none.
 *
 * @throws {RingError} `published_too_recently` with `allowedFrom`, `algorithm_not_in_ring`, `no_successor`, `kid_already_used`.
 */
export function rotate(
  ring: Ring,
  successors: readonly NewKey[],
  policy: RingPolicy,
  change: RingChange,
): Ring {
  return advance(ring, policy, change, (keys) =>
    successors.reduce<readonly RingKey[]>((current, key) => {
      const next = nextToSign({ ...ring, keys: current }, key.alg, policy, change.now)
      const moved = current.map((candidate) => {
        if (candidate.kid === next.kid) return activated(candidate, change)
        return candidate.alg === key.alg && candidate.state === 'active'
          ? stopped(candidate, change)
          : candidate
      })
      return [...moved, published(current, key, change)]
    }, keys),
  )
}

/**
 * The key that a rotation of `alg` would make active now.
 *
 * @throws {RingError} as {@link rotate} does, so that it can be asked before keys are generated.
 */
export function nextToSign(
  ring: Ring,
  alg: SigningAlgorithm,
  policy: RingPolicy,
  now: number,
): RingKey {
  mustHaveAlgorithm(ring, alg)
  const waiting = ring.keys
    .filter((key) => key.alg === alg && key.state === 'published')
    .toSorted((a, b) => (a.publishedAt ?? now) - (b.publishedAt ?? now))
  const next = waiting[0]
  if (!next) throw new RingError('no_successor', `The ring has no published ${alg} successor.`)

  // A verifier may answer from its JWKS copy for as long as publishAhead says (some keep it 24 h whatever max-age
  // is): a key that signed sooner would make good tokens fail there.
  const from = activatableFrom(next, policy, now)
  if (from > now) {
    throw new RingError(
      'published_too_recently',
      `The next ${alg} key was published too recently: verifiers may not have it yet. Rotate from ${new Date(from).toISOString()} on.`,
      from,
    )
  }
  return next
}

/** Applies `step`, retires what has served its time, and counts the version. */
function advance(
  ring: Ring,
  policy: RingPolicy,
  change: RingChange,
  step: (keys: readonly RingKey[]) => readonly RingKey[],
): Ring {
  const keys = step(ring.keys).map((key) =>
    isSpent(key, policy, change.now) ? retired(key, change.now) : key,
  )
  return { version: ring.version + 1, keys }
}

function withFirstKeys(
  keys: readonly RingKey[],
  first: readonly FirstKeys[],
  change: RingChange,
  exemption: string,
): readonly RingKey[] {
  return first.reduce<readonly RingKey[]>((current, { active, successor }) => {
    const { alg } = active
    if (current.some((key) => key.alg === alg && key.state === 'active'))
      throw new RingError('algorithm_already_in_ring', `The ring has an active ${alg} key already.`)
    const exempt = { ...change, reason: `${exemption}, active at once: ${change.reason}` }
    const signing = activated(published(current, active, exempt), exempt)
    return [...current, signing, published([...current, signing], successor, change)]
  }, keys)
}

function published(keys: readonly RingKey[], key: NewKey, change: RingChange): RingKey {
  // A kid names one key for ever, also after its key was retired: verifiers and the ledger know keys by it.
  if (keys.some(({ kid }) => kid === key.kid))
    throw new RingError('kid_already_used', `The kid ${key.kid} was used before.`)
  return {
    kid: key.kid,
    alg: key.alg,
    state: 'published',
    publicJwk: key.publicJwk,
    createdAt: change.now,
    publishedAt: change.now,
    reason: change.reason,
    by: change.by,
  }
}

function activated(key: RingKey, { now, by, reason }: RingChange): RingKey {
  return { ...key, state: 'active', activatedAt: now, by, reason }
}

function stopped(key: RingKey, { now, by, reason }: RingChange): RingKey {
  // Replicas' clocks differ: never count the wait from before the key even began to sign.
  const verifyOnlyAt = Math.max(now, key.activatedAt ?? now)
  return { ...key, state: 'verify-only', verifyOnlyAt, by, reason }
}

function retired(key: RingKey, now: number): RingKey {
  const reason = 'every token it signed has expired'
  return { ...key, state: 'retired', retiredAt: now, by: 'rolemint', reason }
}

function isSpent(key: RingKey, policy: RingPolicy, now: number): boolean {
  if (key.state !== 'verify-only') return false
  const { longestTokenMilliseconds, skewMilliseconds } = policy
  const stays = longestTokenMilliseconds + skewMilliseconds + LATE_REPLICA_MILLISECONDS
  return (key.verifyOnlyAt ?? now) + stays <= now
}

function mustHaveAlgorithm(ring: Ring, alg: SigningAlgorithm): void {
  if (activeKey(ring, alg)) return
  throw new RingError('algorithm_not_in_ring', `The ring has no ${alg} key.`)
}
