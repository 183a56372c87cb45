import type { Clock } from '../lib/clock.ts'
import type { SigningAlgorithm } from './options.ts'
import { PrivateHalfError, type PrivateHalves } from './private-halves.ts'
import {
  activeKey,
  addAlgorithms,
  algorithmsOf,
  type FirstKeys,
  type NewKey,
  newRing,
  nextToSign,
  type Ring,
  type RingChange,
  RingError,
  type RingPolicy,
  rotate as rotated,
} from './ring.ts'
import type { RingStore } from './store.ts'
import { type RingView, viewRing } from './view.ts'

/** Who asked for a change, and why. */
export type ChangedBy = Pick<RingChange, 'by' | 'reason'>

/** What a rotation did to one algorithm, by kid. */
export interface Rotation {
  readonly alg: SigningAlgorithm
  /** Signed until now; its private half is being destroyed. */
  readonly previous: string
  /** Signs from now on. */
  readonly active: string
  /** Newly published; signs after the next rotation. */
  readonly successor: string
}

/** The ring of one tenant as this process knows it. */
export interface TenantRing {
  open(algorithms: readonly SigningAlgorithm[], signal: AbortSignal): Promise<void>
  /** Follows what others did to the ring. The read it waits for starts after this call. */
  reread(signal: AbortSignal): Promise<void>
  rotate(
    which: SigningAlgorithm | 'all',
    changedBy: ChangedBy,
    signal: AbortSignal,
  ): Promise<readonly Rotation[]>
}

/** What {@link createTenantRing} needs. */
export interface TenantRingDeps {
  readonly rings: RingStore
  readonly halves: PrivateHalves
  readonly clock: Clock
  /** Told what requests are to use, each time that changes. */
  readonly show: (view: RingView) => void
}

/** A ring in constant use by others is written at most this often before the change is given up. */
const ATTEMPTS = 8

/** Reads, creates and changes the ring of `tenant`. */
export function createTenantRing(
  { rings, halves, clock, show: tell }: TenantRingDeps,
  tenant: string,
  policy: () => RingPolicy,
): TenantRing {
  let view: RingView | undefined
  let tail: Promise<unknown> = Promise.resolve()
  let nextRead: Promise<void> | undefined

  /** One at a time, so that a slow reader of version 5 cannot put it in the place of version 6. */
  function exclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = tail.then(work)
    tail = run.catch(() => undefined)
    return run
  }

  function show(ring: Ring): void {
    if (view?.ring.version === ring.version) return
    view = viewRing(tenant, ring)
    tell(view)
  }

  /** Makes `ring` the one in use; gives the keys that could not be loaded. */
  async function adopt(ring: Ring, signal: AbortSignal): Promise<readonly PrivateHalfError[]> {
    if (view && ring.version < view.ring.version) {
      throw new Error(
        `The key ring of tenant ${tenant} went back from version ${view.ring.version} to ${ring.version}. Was the store restored?`,
      )
    }
    // A key store that hangs must not keep a new JWKS from verifiers, nor a loaded key from signing.
    const signing = ring.keys.filter(({ state }) => state === 'active')
    if (signing.every(({ kid }) => halves.isLoaded(tenant, kid))) show(ring)
    const failures = await halves.load(tenant, ring, signal)
    show(ring)
    await halves.destroySpent(tenant, ring, signal)
    return failures
  }

  /**
   * Writes what `step` makes of the newest ring, again if others were faster. Private halves of `made` that did not get into
   * the ring are destroyed, except when nobody can say whether the write happened: a key that verifiers may
   * already know must keep its private half, and an orphan does no harm.
   */
  async function commit(
    step: (newest: Ring | undefined) => Ring,
    made: readonly NewKey[],
    signal: AbortSignal,
  ): Promise<Ring> {
    let seen: Ring | undefined
    let outcomeKnown = true
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        const newest = await rings.load(tenant, signal)
        seen = newest
        const next = step(newest)
        if (next !== newest) {
          outcomeKnown = false
          const won = await rings.compareAndSet(tenant, newest?.version ?? 0, next, signal)
          outcomeKnown = true
          if (!won) continue
        }
        seen = next
        return next
      }
      throw changedMeanwhile()
    } finally {
      if (outcomeKnown) {
        const orphans = made.filter(({ kid }) => !seen?.keys.some((key) => key.kid === kid))
        const kids = orphans.map(({ kid }) => kid)
        await halves.discard(tenant, kids, signal)
      }
    }
  }

  /** Gives `algorithms` their first keys, unless another replica is faster. */
  async function start(algorithms: readonly SigningAlgorithm[], signal: AbortSignal) {
    const made = await halves.make(
      tenant,
      algorithms.flatMap((alg) => [alg, alg]),
      signal,
    )
    const first = pairs(made)
    const step = (newest: Ring | undefined): Ring => {
      const change = { now: clock.now(), by: 'rolemint', reason: 'named by the configuration' }
      if (!newest) return newRing(first, change)
      const missing = first.filter(({ active }) => !activeKey(newest, active.alg))
      return missing.length === 0 ? newest : addAlgorithms(newest, missing, policy(), change)
    }
    return commit(step, made, signal)
  }

  async function open(algorithms: readonly SigningAlgorithm[], signal: AbortSignal) {
    const stored = await rings.load(tenant, signal)
    const missing = algorithms.filter((alg) => !stored || !activeKey(stored, alg))
    let ring = stored && missing.length === 0 ? stored : await start(missing, signal)
    let failures = await adopt(ring, signal)
    // Another replica may have rotated between our reading of the ring and of its keys; then the newer ring loads.
    while (failures.length > 0) {
      const newer = await rings.load(tenant, signal)
      if (!newer || newer.version === ring.version) throw failures[0]
      ring = newer
      failures = await adopt(ring, signal)
    }
  }

  async function read(signal: AbortSignal): Promise<void> {
    const ring = await rings.load(tenant, signal)
    if (!ring) throw new Error(`The key ring of tenant ${tenant} is not in the store.`)
    await adopt(ring, signal)
  }

  function reread(signal: AbortSignal): Promise<void> {
    // Callers that come while a read is under way share the one after it: theirs would be too old for them.
    nextRead ??= exclusive(() => {
      nextRead = undefined
      return read(signal)
    })
    return nextRead
  }

  async function rotate(
    which: SigningAlgorithm | 'all',
    changedBy: ChangedBy,
    signal: AbortSignal,
  ): Promise<readonly Rotation[]> {
    await reread(signal)
    const before = view?.ring
    if (!before) throw new Error(`The key ring of tenant ${tenant} was not read.`)
    const algorithms = which === 'all' ? algorithmsOf(before) : [which]
    for (const alg of algorithms) {
      const next = nextToSign(before, alg, policy(), clock.now())
      // The key that signs now is destroyed by this: not before its successor is known to work.
      if (!halves.isLoaded(tenant, next.kid))
        throw new PrivateHalfError(tenant, next, new Error('it was not loaded here'))
    }

    const made = await halves.make(tenant, algorithms, signal)
    const step = (newest: Ring | undefined): Ring => {
      // Two people who press the button at once mean one rotation.
      if (!newest || algorithms.some((alg) => !sameActiveKey(newest, before, alg)))
        throw changedMeanwhile()
      return rotated(newest, made, policy(), { ...changedBy, now: clock.now() })
    }
    const after = await exclusive(async () => {
      const ring = await commit(step, made, signal)
      await adopt(ring, signal)
      return ring
    })
    return made.map(({ alg, kid }) => ({
      alg,
      previous: activeKey(before, alg)?.kid ?? '',
      active: activeKey(after, alg)?.kid ?? '',
      successor: kid,
    }))
  }

  return {
    open: (algorithms, signal) => exclusive(() => open(algorithms, signal)),
    reread,
    rotate,
  }
}

function pairs(made: readonly NewKey[]): readonly FirstKeys[] {
  return made.flatMap((active, index) => {
    const successor = made[index + 1]
    return index % 2 === 0 && successor ? [{ active, successor }] : []
  })
}

function sameActiveKey(a: Ring, b: Ring, alg: SigningAlgorithm): boolean {
  return activeKey(a, alg)?.kid === activeKey(b, alg)?.kid
}

function changedMeanwhile(): RingError {
  return new RingError(
    'changed_meanwhile',
    'The ring was changed by somebody else meanwhile. Look at it again before you repeat this.',
  )
}
