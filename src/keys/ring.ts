/**
 * The key ring of a tenant as a value, and the only ways it may change.
 *
 * Every transition is pure: it gets the time, returns a new ring with the next version, or throws a {@link RingError}
 * and changes nothing. Whoever calls it writes the result by compare-and-set, so replicas that race need no leader.
 *
 * All waits are safe when the clocks of replicas and verifiers are off by up to `skew` either way: a time that one replica
 * wrote and another one compares may be wrong by twice that.
 */
import type { SigningAlgorithm } from './options.ts'
import { RingError } from './ring-error.ts'

/** Where a key is in its life. A private half exists up to `active`. */
export type KeyState = 'staged' | 'published' | 'active' | 'verify-only' | 'retired' | 'compromised'

/** One key of a ring: its public half and its history. Times are milliseconds since the epoch. */
export interface RingKey {
  readonly kid: string
  readonly alg: SigningAlgorithm
  readonly state: KeyState
  /** Public JWK without `kid`, `use`, `alg` (RFC 7517 §4). */
  readonly publicJwk: Readonly<Record<string, string>>
  /** Where a remote signer finds the private half; absent with keys that are in a store of ours. */
  readonly handle?: string
  readonly createdAt: number
  readonly publishedAt?: number
  readonly activatedAt?: number
  /** When a replica stops signing with the key by itself, whatever it still believes. Fixed on activation, never moved. */
  readonly signUntil?: number
  /** When it stopped being the one that signs. */
  readonly verifyOnlyAt?: number
  readonly retiredAt?: number
  readonly compromisedAt?: number
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
export type NewKey = Pick<RingKey, 'kid' | 'alg' | 'publicJwk' | 'handle'>

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
  /** How long a key signs before the next one takes over. */
  readonly rotateEveryMilliseconds: number
  /** Published keys kept ready for each algorithm. */
  readonly successors: number
  /** The longest life of a token that any key may have signed. */
  readonly longestTokenMilliseconds: number
  /** How far the clock of a verifier or a replica may be off, and the leeway a verifier grants. */
  readonly skewMilliseconds: number
}

/** The ring before its first change. */
export const EMPTY_RING: Ring = { version: 0, keys: [] }

/** The algorithms of a ring: those with an active key, in the order they came. */
export function algorithmsOf(ring: Ring): readonly SigningAlgorithm[] {
  return ring.keys.filter(({ state }) => state === 'active').map(({ alg }) => alg)
}

/** The key that signs for this algorithm, or undefined when the ring has none. */
export function activeKey(ring: Ring, alg: SigningAlgorithm): RingKey | undefined {
  return ring.keys.find((key) => key.alg === alg && key.state === 'active')
}

/** The successors of an algorithm, the one published longest ago first. */
export function publishedKeys(ring: Ring, alg: SigningAlgorithm): readonly RingKey[] {
  return ring.keys
    .filter((key) => key.alg === alg && key.state === 'published')
    .toSorted((a, b) => (a.publishedAt ?? 0) - (b.publishedAt ?? 0))
}

/** When a published key may become active (milliseconds since the epoch). */
export function activatableFrom({ publishedAt = 0 }: RingKey, policy: RingPolicy): number {
  return publishedAt + policy.publishAheadMilliseconds + 2 * policy.skewMilliseconds
}

/** When the successor of an active key is due: never later than what leaves the successor time before `signUntil`. */
export function dueFrom({ activatedAt = 0, signUntil = 0 }: RingKey, policy: RingPolicy): number {
  return Math.min(
    activatedAt + policy.rotateEveryMilliseconds,
    signUntil - policy.publishAheadMilliseconds,
  )
}

/** When a rotation that is due waits no longer for a spare successor: half of what is left between due and `signUntil`. */
function pressingFrom(key: RingKey, policy: RingPolicy): number {
  const due = dueFrom(key, policy)
  return due + Math.max(0, ((key.signUntil ?? due) - due) / 2)
}

/**
 * When a verify-only key may leave JWKS. It counts from `signUntil`, not from the rotation: a replica that has heard of none
 * signs until then, and its last token must still find its key at a verifier whose clock is late.
 */
export function retirableFrom({ signUntil = 0 }: RingKey, policy: RingPolicy): number {
  return signUntil + policy.longestTokenMilliseconds + 3 * policy.skewMilliseconds
}

/** Long after this the private half of a key that was given up is destroyed on every replica. */
const FORGET_MILLISECONDS = 90 * 86_400_000

/** A key that was given up before it was public leaves no trace: a key store that fails for weeks must not fill the ring. */
function isForgotten({ state, publishedAt, retiredAt = 0 }: RingKey, now: number): boolean {
  return state === 'retired' && publishedAt === undefined && retiredAt + FORGET_MILLISECONDS <= now
}

/** Writes down keys before anything of them is kept anywhere: a crash after this leaves nothing that the ring does not know. */
export function stage(ring: Ring, keys: readonly NewKey[], { now, by, reason }: RingChange): Ring {
  const staged = keys.map((key, index): RingKey => {
    // A kid names one key for ever, also after its key was retired: verifiers and the ledger know keys by it.
    const known = [...ring.keys, ...keys.slice(0, index)]
    if (known.some(({ kid }) => kid === key.kid))
      throw new RingError('kid_already_used', `The kid ${key.kid} was used before.`)
    return { ...key, state: 'staged', createdAt: now, reason, by }
  })
  return next(ring, [...ring.keys, ...staged])
}

/**
 * Puts a staged key into JWKS. It signs no sooner than `publishAhead` from now, except where nothing signs for its algorithm: the first
 * key of an algorithm, and the one that follows a killed key without successor, are active at once. The exemption is in `reason`.
 *
 * @throws {RingError} `kid_unknown`, `wrong_state`.
 */
export function publish(ring: Ring, kid: string, policy: RingPolicy, change: RingChange): Ring {
  const key = keyNamed(ring, kid)
  mustBe(key, ['staged'], 'published')
  const published: RingKey = {
    ...key,
    state: 'published',
    publishedAt: change.now,
    reason: change.reason,
    by: change.by,
  }
  if (activeKey(ring, key.alg)) return next(ring, replace(ring.keys, published))
  const first = !ring.keys.some(
    ({ alg, activatedAt }) => alg === key.alg && activatedAt !== undefined,
  )
  const why = first ? 'first key of the algorithm' : 'successor of a killed key'
  const exempt = { ...change, reason: `${why}, active at once: ${change.reason}` }
  return next(ring, replace(ring.keys, activated(published, policy, exempt)))
}

/** Gives up a staged key: it was never public. @throws {RingError} `kid_unknown`, `wrong_state`. */
export function discard(ring: Ring, kid: string, change: RingChange): Ring {
  const key = keyNamed(ring, kid)
  mustBe(key, ['staged'], 'discarded')
  return next(ring, replace(ring.keys, retired(key, change)))
}

/**
 * Changes the signing key of each algorithm: the successor published longest ago becomes active, the active key becomes verify-only. All
 * of them change or none. Another successor must stay published, so that the ring is never without a way out.
 *
 * @throws {RingError} `published_too_recently` with `allowedFrom`, `algorithm_not_in_ring`, `no_successor`.
 */
export function rotate(
  ring: Ring,
  algorithms: readonly SigningAlgorithm[],
  policy: RingPolicy,
  change: RingChange,
): Ring {
  const keys = algorithms.reduce<readonly RingKey[]>((current, alg) => {
    const now = { ...ring, keys: current }
    const successor = nextToSign(now, alg, policy, change.now)
    if (publishedKeys(now, alg).length < 2) {
      const message = `The ring would be left without a published ${alg} successor.`
      throw new RingError('no_successor', message)
    }
    return handOver(current, successor, policy, change)
  }, ring.keys)
  return next(ring, keys)
}

/**
 * Makes one published key of the operator's choice sign.
 *
 * @throws {RingError} `kid_unknown`, `wrong_state`, `published_too_recently` with `allowedFrom`.
 */
export function promote(ring: Ring, kid: string, policy: RingPolicy, change: RingChange): Ring {
  const key = keyNamed(ring, kid)
  mustBe(key, ['published'], 'promoted')
  mustBeOldEnough(key, policy, change.now)
  return next(ring, handOver(ring.keys, key, policy, change))
}

/**
 * Takes a key out of JWKS: a published one that is not wanted, or a verify-only one whose last token has expired.
 *
 * @throws {RingError} `kid_unknown`, `wrong_state`, `still_needed` with `allowedFrom`, `no_successor`.
 */
export function retire(ring: Ring, kid: string, policy: RingPolicy, change: RingChange): Ring {
  const key = keyNamed(ring, kid)
  mustBe(key, ['published', 'verify-only'], 'retired')
  if (key.state === 'published' && publishedKeys(ring, key.alg).length < 2) {
    const message = `The key ${kid} is the only published ${key.alg} successor.`
    throw new RingError('no_successor', message)
  }
  const from = retirableFrom(key, policy)
  if (key.state === 'verify-only' && from > change.now) {
    const message = `Tokens that the key ${kid} signed may still be valid. Retire it from ${new Date(from).toISOString()} on.`
    throw new RingError('still_needed', message, from)
  }
  return next(ring, replace(ring.keys, retired(key, change)))
}

/**
 * Marks a key as compromised, from whatever state: out of JWKS, denied, never to return. Its successor, which verifiers have in their
 * key sets already, signs at once; without one nothing signs until a new key is published.
 *
 * @throws {RingError} `kid_unknown`, `already_compromised`.
 */
export function kill(ring: Ring, kid: string, policy: RingPolicy, change: RingChange): Ring {
  const key = keyNamed(ring, kid)
  if (key.state === 'compromised')
    throw new RingError('already_compromised', `The key ${kid} is marked as compromised already.`)
  const { now, reason, by } = change
  const killed: RingKey = { ...key, state: 'compromised', compromisedAt: now, reason, by }
  const keys = replace(ring.keys, killed)
  const [successor] = publishedKeys(ring, key.alg)
  if (key.state !== 'active' || !successor) return next(ring, keys)
  // An attacker signs with the old key now: waiting for publishAhead would only serve the attacker.
  const exempt = {
    ...change,
    reason: `successor of the killed key ${kid}, active at once: ${reason}`,
  }
  return next(ring, replace(keys, activated(successor, policy, exempt)))
}

/**
 * What time alone brings: keys whose last token has expired are retired, a signing key that is due gives way. The rotation waits for a spare
 * successor, so that one is always left, until the end of the key's life comes near: then it goes ahead without.
 *
 * @returns the same ring when there is nothing to do.
 */
export function advance(ring: Ring, policy: RingPolicy, now: number): Ring {
  const change = { now, by: 'rolemint', reason: 'scheduled rotation' }
  const rotated = algorithmsOf(ring).reduce<readonly RingKey[]>((keys, alg) => {
    const active = activeKey(ring, alg)
    const [successor, ...spare] = publishedKeys(ring, alg)
    if (!active || !successor || dueFrom(active, policy) > now) return keys
    if (activatableFrom(successor, policy) > now) return keys
    const ready = spare.length >= policy.successors
    if (!ready && pressingFrom(active, policy) > now) return keys
    const reason = ready
      ? change.reason
      : `${change.reason}, before its own successor could be made`
    return handOver(keys, successor, policy, { ...change, reason })
  }, ring.keys)
  const spent = { ...change, reason: 'every token it signed has expired' }
  const keys = rotated
    .filter((key) => !isForgotten(key, now))
    .map((key) =>
      key.state === 'verify-only' && retirableFrom(key, policy) <= now ? retired(key, spent) : key,
    )
  const same = keys.length === ring.keys.length && keys.every((key, at) => key === ring.keys[at])
  return same ? ring : next(ring, keys)
}

/** How many published keys an algorithm is to have: a rotation that is due wants one more, to stay when the successor begins to sign. */
function successorsWanted(
  ring: Ring,
  alg: SigningAlgorithm,
  policy: RingPolicy,
  now: number,
): number {
  const active = activeKey(ring, alg)
  return policy.successors + (active && dueFrom(active, policy) <= now ? 1 : 0)
}

/** Whether one more key of this algorithm is to be published now. */
export function wantsKey(
  ring: Ring,
  alg: SigningAlgorithm,
  policy: RingPolicy,
  now: number,
): boolean {
  if (!activeKey(ring, alg)) return true
  return publishedKeys(ring, alg).length < successorsWanted(ring, alg, policy, now)
}

/**
 * The algorithms that a new key is to be made for now, once for each key: those of `algorithms` that nothing signs for, and those of the ring
 * with too few successors. Keys that are being made elsewhere (staged) count.
 */
export function missingKeys(
  ring: Ring,
  algorithms: readonly SigningAlgorithm[],
  policy: RingPolicy,
  now: number,
): readonly SigningAlgorithm[] {
  return [...new Set([...algorithms, ...algorithmsOf(ring)])].flatMap((alg) => {
    const wanted = successorsWanted(ring, alg, policy, now) + (activeKey(ring, alg) ? 0 : 1)
    const coming = ring.keys.filter(
      (key) => key.alg === alg && (key.state === 'published' || key.state === 'staged'),
    )
    return Array.from({ length: Math.max(0, wanted - coming.length) }, () => alg)
  })
}

/**
 * The key that a rotation of `alg` would make active now.
 *
 * @throws {RingError} `published_too_recently` with `allowedFrom`, `algorithm_not_in_ring`, `no_successor`.
 */
export function nextToSign(
  ring: Ring,
  alg: SigningAlgorithm,
  policy: RingPolicy,
  now: number,
): RingKey {
  if (!activeKey(ring, alg))
    throw new RingError('algorithm_not_in_ring', `The ring has no ${alg} key.`)
  const [successor] = publishedKeys(ring, alg)
  if (!successor) throw new RingError('no_successor', `The ring has no published ${alg} successor.`)
  mustBeOldEnough(successor, policy, now)
  return successor
}

function mustBeOldEnough(key: RingKey, policy: RingPolicy, now: number): void {
  // A verifier may answer from its JWKS copy for as long as publishAhead says (some keep it 24 h whatever max-age
  // is): a key that signed sooner would make good tokens fail there.
  const from = activatableFrom(key, policy)
  if (from <= now) return
  throw new RingError(
    'published_too_recently',
    `The next ${key.alg} key was published too recently: verifiers may not have it yet. Rotate from ${new Date(from).toISOString()} on.`,
    from,
  )
}

function keyNamed(ring: Ring, kid: string): RingKey {
  const key = ring.keys.find((candidate) => candidate.kid === kid)
  if (!key) throw new RingError('kid_unknown', 'The ring has no key of this kid.')
  return key
}

function mustBe(key: RingKey, states: readonly KeyState[], wish: string): void {
  if (states.includes(key.state)) return
  const message = `The key ${key.kid} is ${key.state}; only a key that is ${states.join(' or ')} can be ${wish}.`
  throw new RingError('wrong_state', message)
}

function handOver(
  keys: readonly RingKey[],
  successor: RingKey,
  policy: RingPolicy,
  change: RingChange,
): readonly RingKey[] {
  return keys.map((key) => {
    if (key.kid === successor.kid) return activated(key, policy, change)
    return key.alg === successor.alg && key.state === 'active' ? stopped(key, change) : key
  })
}

function activated(key: RingKey, policy: RingPolicy, { now, by, reason }: RingChange): RingKey {
  const { rotateEveryMilliseconds, publishAheadMilliseconds } = policy
  const signUntil = now + rotateEveryMilliseconds + publishAheadMilliseconds
  return { ...key, state: 'active', activatedAt: now, signUntil, by, reason }
}

function stopped(key: RingKey, { now, by, reason }: RingChange): RingKey {
  return { ...key, state: 'verify-only', verifyOnlyAt: now, by, reason }
}

function retired(key: RingKey, { now, by, reason }: RingChange): RingKey {
  return { ...key, state: 'retired', retiredAt: now, by, reason }
}

function replace(keys: readonly RingKey[], changed: RingKey): readonly RingKey[] {
  return keys.map((key) => (key.kid === changed.kid ? changed : key))
}

function next(ring: Ring, keys: readonly RingKey[]): Ring {
  return { version: ring.version + 1, keys }
}
