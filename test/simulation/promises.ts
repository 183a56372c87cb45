/**
 * What must be true of every ring ever committed and of every signature, in true time. Written without a word of the product's own
 * transitions and waits: only its types are shared, so that a bug there is no bug here.
 */
import type { KeyState, Ring, RingKey, RingPolicy } from '../../src/keys/ring.ts'

/** The longest time between a replica's look at its clock and the effect of what it then writes, in a store that is slow but not down. */
export const STORE_DEADLINE_MILLISECONDS = 5000

const MAY_FOLLOW: Readonly<Record<KeyState, readonly KeyState[]>> = {
  staged: ['published', 'active', 'retired', 'compromised'],
  published: ['active', 'retired', 'compromised'],
  active: ['verify-only', 'retired', 'compromised'],
  'verify-only': ['retired', 'compromised'],
  retired: ['compromised'],
  compromised: [],
}

const FIRST = /^first key of the algorithm, active at once/
const AFTER_KILL = /^successor of (a|the) killed key.*, active at once/

/** What is known of one key in true time. */
interface Past {
  state: KeyState
  publishedAt?: number
  /** When the last token of it expires, as the token says. */
  expires: number
}

/** A signature as it was made. */
export interface Signed {
  readonly kid: string
  /** By the clock of the replica. */
  readonly clock: number
  /** The newest ring that the replica has read. */
  readonly seen: Ring | undefined
}

/** Watches one history. */
export interface Promises {
  /** A ring was committed. */
  committed(before: Ring | undefined, after: Ring, now: number): void
  signed(signed: Signed): void
  /** A private half was destroyed in the store. */
  destroyed(kid: string): void
}

/** Watches over the promises; `broken` is told of each that does not hold, `happened` of what keys went through. */
export function createPromises(
  policy: RingPolicy,
  broken: (what: string) => void,
  happened: (what: string, detail?: string) => void,
): Promises {
  const past = new Map<string, Past>()
  let current: Ring | undefined

  function changed(before: Ring | undefined, after: Ring, key: RingKey, now: number): void {
    const known = past.get(key.kid)
    if (!known) {
      if (key.state !== 'staged') broken(`${key.kid} was never staged`)
      past.set(key.kid, { state: key.state, expires: 0 })
      return
    }
    const from = known.state
    if (from === key.state) return
    known.state = key.state
    happened(`${from} to ${key.state}`, `${key.kid}: ${key.reason}`)
    if (!MAY_FOLLOW[from].includes(key.state))
      broken(`${key.kid} went from ${from} to ${key.state}`)
    if (from === 'staged' && key.state !== 'retired') known.publishedAt = now
    if (key.state === 'active') activated(before, after, key, known, now)
    const left = after.keys.some((one) => one.alg === key.alg && one.state === 'published')
    if (from === 'published' && key.state === 'retired' && !left)
      broken(`${key.kid} was retired, the only successor`)
    // The verifier grants leeway, and its clock may be late besides.
    const needed = known.expires + 2 * policy.skewMilliseconds
    if (key.state === 'retired' && now < needed)
      broken(`${key.kid} left JWKS ${needed - now} ms before its last token expired`)
  }

  function activated(
    before: Ring | undefined,
    after: Ring,
    key: RingKey,
    known: Past,
    now: number,
  ): void {
    const same = (ring: Ring | undefined) => ring?.keys.filter(({ alg }) => alg === key.alg) ?? []
    if (FIRST.test(key.reason)) {
      happened('first key')
      if (same(before).some(({ activatedAt }) => activatedAt !== undefined))
        broken(`${key.kid} says it is the first of its algorithm and is not`)
    } else if (AFTER_KILL.test(key.reason)) {
      happened('successor of a killed key')
      const signing = same(before).find(({ state }) => state === 'active')
      const killed = same(after).find(({ kid }) => kid === signing?.kid)?.state === 'compromised'
      if (signing && !killed) broken(`${key.kid} says it follows a killed key and does not`)
    } else {
      const since = now - (known.publishedAt ?? now)
      if (since < policy.publishAheadMilliseconds - STORE_DEADLINE_MILLISECONDS)
        broken(`${key.kid} became active ${since} ms after it was published`)
    }
  }

  function oneActive(before: Ring | undefined, after: Ring): void {
    for (const alg of new Set(after.keys.map((key) => key.alg))) {
      const active = after.keys.filter((key) => key.alg === alg && key.state === 'active')
      if (active.length > 1) broken(`${active.length} ${alg} keys are active`)
      if (active.length > 0) continue
      const was = before?.keys.find((key) => key.alg === alg && key.state === 'active')
      if (was && past.get(was.kid)?.state !== 'compromised') broken(`no ${alg} key is active`)
      const ever = after.keys.some((key) => key.alg === alg && key.activatedAt !== undefined)
      if (ever && after.keys.some((key) => key.alg === alg && key.state === 'published'))
        broken(`no ${alg} key is active although a successor is published`)
    }
  }

  return {
    committed(before, after, now) {
      current = after
      if (after.version !== (before?.version ?? 0) + 1) broken('a version was left out')
      const kids = new Set(after.keys.map(({ kid }) => kid))
      if (kids.size !== after.keys.length) broken('two keys have one kid')
      for (const key of before?.keys ?? []) {
        if (!kids.has(key.kid) && (key.state !== 'retired' || key.publishedAt !== undefined))
          broken(`${key.kid} was forgotten`)
      }
      for (const key of after.keys) changed(before, after, key, now)
      oneActive(before, after)
    },

    signed({ kid, clock, seen }) {
      const key = current?.keys.find((one) => one.kid === kid)
      const known = past.get(kid)
      if (!key || !known) return broken(`${kid} signed and is in no ring`)
      if (key.activatedAt === undefined) broken(`${kid} signed before it was active`)
      if (clock >= (key.signUntil ?? 0)) broken(`${kid} signed after signUntil`)
      if (seen?.keys.some((one) => one.kid === kid && one.state === 'compromised'))
        broken(`${kid} signed where its kill was known`)
      if (key.state === 'retired') broken(`${kid} signed after it had left JWKS`)
      known.expires = Math.max(known.expires, clock + policy.longestTokenMilliseconds)
    },

    destroyed(kid) {
      const state = past.get(kid)?.state
      happened('destroyed', kid)
      if (state === 'staged' || state === 'published' || state === 'active')
        broken(`the private half of the ${state} key ${kid} was destroyed`)
    },
  }
}
