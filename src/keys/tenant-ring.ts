import type { Clock } from '../lib/clock.ts'
import { createKeySupply } from './key-supply.ts'
import type { SigningAlgorithm } from './options.ts'
import { PrivateHalfError, type PrivateHalves } from './private-halves.ts'
import {
  activeKey,
  advance,
  algorithmsOf,
  EMPTY_RING,
  kill,
  missingKeys,
  nextToSign,
  promote,
  publishedKeys,
  type Ring,
  type RingChange,
  type RingPolicy,
  retire,
  rotate,
  wantsKey,
} from './ring.ts'
import { RingError } from './ring-error.ts'
import type { RingStore } from './store.ts'
import { type RingView, viewRing } from './view.ts'

/** Who asked for a change, and why. */
export type ChangedBy = Pick<RingChange, 'by' | 'reason'>

/** A change of one key as it was asked for. */
export type KeyAction = 'promote' | 'retire' | 'kill'

/** The ring of one tenant as this process knows it. Every method may be called at any time; changes are made one at a time. */
export interface TenantRing {
  open(algorithms: readonly SigningAlgorithm[], signal: AbortSignal): Promise<void>
  /**
   * Reads the ring; the read starts after this call. What needs no key store is done at once: a killed key stops, and a ring whose signing
   * keys are loaded is shown.
   */
  follow(signal: AbortSignal): Promise<Ring>
  /** Does the rest for the ring that was read last: loads keys, shows the ring, destroys spent keys. */
  settle(signal: AbortSignal): Promise<void>
  /** Follows, and settles when what was read is not in use yet. */
  reread(signal: AbortSignal): Promise<void>
  /** What time brings: retires, rotates, publishes successors, clears up what a dead replica left. */
  keep(algorithms: readonly SigningAlgorithm[], signal: AbortSignal): Promise<void>
  rotate(which: SigningAlgorithm | 'all', changedBy: ChangedBy, signal: AbortSignal): Promise<void>
  change(action: KeyAction, kid: string, changedBy: ChangedBy, signal: AbortSignal): Promise<void>
}

/** What {@link createTenantRing} needs. */
export interface TenantRingDeps {
  readonly rings: RingStore
  readonly halves: PrivateHalves
  readonly clock: Clock
  /** Told what requests are to use, each time that changes. */
  readonly show: (view: RingView) => void
  /** Told of each change that this process made. */
  readonly changed: (before: Ring, after: Ring) => void
  /** A number in [0, 1): spreads the attempts of replicas that all see the same thing due. */
  readonly chance: () => number
}

/** A ring in constant use by others is written at most this often before the change is given up. */
const ATTEMPTS = 8

/** A key that stays staged for longer belongs to a replica that died while making it. Beyond any deadline a store is given. */
const STAGED_MILLISECONDS = 120_000

/** Replicas that see the same thing due try within this time of one another. */
const JITTER_MILLISECONDS = 60_000

/** How long after a failed attempt the next one comes, more or less. */
const RETRY_MILLISECONDS = 20_000

/** The same while nothing signs for an algorithm. */
const URGENT_RETRY_MILLISECONDS = 2000

/** The part of `publishAhead` that the jitter may take. */
const JITTER_SHARE = 50

const STARTED = { by: 'rolemint', reason: 'named by the configuration' }
const KEPT_READY = { by: 'rolemint', reason: 'kept ready as a successor' }

const ACTIONS = { promote, retire, kill }

/** Reads, creates and changes the ring of `tenant`. */
export function createTenantRing(
  { rings, halves, clock, show: tell, changed, chance }: TenantRingDeps,
  tenant: string,
  policy: () => RingPolicy,
): TenantRing {
  let view: RingView | undefined
  let latest: Ring | undefined
  let tail: Promise<unknown> = Promise.resolve()
  let reading: Promise<Ring> | undefined
  let nextRead: Promise<Ring> | undefined
  let settling: Promise<readonly PrivateHalfError[]> | undefined
  let turn: { readonly version: number; readonly at: number } | undefined

  /** Changes that make keys, one at a time: two of them would make twice as many. */
  function exclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = tail.then(work)
    tail = run.catch(() => undefined)
    return run
  }

  /** A slow reader of version 5 does not put it in the place of version 6. */
  function show(ring: Ring): void {
    if (view && view.ring.version >= ring.version) return
    view = viewRing(tenant, ring, view)
    tell(view)
  }

  /** What can be done about a new ring at once, whatever state the key store is in: a killed key stops here. */
  function obey(ring: Ring): void {
    if (latest && latest.version > ring.version) return
    latest = ring
    halves.dropKilled(tenant, ring)
    const killed = ring.keys.some(
      ({ kid, state }) =>
        state === 'compromised' &&
        view?.ring.keys.some((key) => key.kid === kid && key.state !== 'compromised'),
    )
    const signing = ring.keys.filter(({ state }) => state === 'active')
    if (killed || signing.every(({ kid }) => halves.isLoaded(tenant, kid))) show(ring)
  }

  /** Makes `ring` the one in use; gives the keys that could not be loaded. */
  async function adopt(ring: Ring, signal: AbortSignal): Promise<readonly PrivateHalfError[]> {
    obey(ring)
    const failures = await halves.load(tenant, ring, signal)
    show(ring)
    await halves.destroySpent(tenant, ring, signal)
    return failures
  }

  /** Writes what `step` makes of the newest ring, again if others were faster; a step that returns the ring as it is writes nothing. */
  async function commit(step: (newest: Ring) => Ring, signal: AbortSignal): Promise<Ring> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const newest = (await rings.load(tenant, signal)) ?? EMPTY_RING
      // However a process hears of a kill, it obeys: writing what it came for may take as long as the store likes.
      if (view) obey(newest)
      const next = step(newest)
      if (next === newest) return newest
      if (!(await rings.compareAndSet(tenant, newest.version, next, signal))) continue
      changed(newest, next)
      return next
    }
    throw changedMeanwhile()
  }

  const { supply, giveUp } = createKeySupply({ halves, clock, commit }, tenant, policy)

  const wanted = (ring: Ring, alg: SigningAlgorithm) => wantsKey(ring, alg, policy(), clock.now())

  async function open(algorithms: readonly SigningAlgorithm[], signal: AbortSignal) {
    let ring = (await rings.load(tenant, signal)) ?? EMPTY_RING
    const missing = algorithms.filter((alg) => !activeKey(ring, alg))
    if (missing.length > 0) {
      const { successors } = policy()
      const first = missing.flatMap((alg) => Array.from({ length: successors + 1 }, () => alg))
      ring = await supply(first, wanted, STARTED, signal)
    }
    let failures = await adopt(ring, signal)
    // Another replica may have rotated between our reading of the ring and of its keys; then the newer ring loads.
    while (failures.length > 0) {
      const newer = await rings.load(tenant, signal)
      if (!newer || newer.version === ring.version) throw failures[0]
      ring = newer
      failures = await adopt(ring, signal)
    }
  }

  async function read(signal: AbortSignal): Promise<Ring> {
    const ring = await rings.load(tenant, signal)
    if (!ring) throw new Error(`The key ring of tenant ${tenant} is not in the store.`)
    obey(ring)
    return ring
  }

  function follow(signal: AbortSignal): Promise<Ring> {
    // Callers that come while a read is under way share the one after it: theirs would be too old for them.
    nextRead ??= (reading ?? Promise.resolve())
      .catch(() => undefined)
      .then(() => {
        nextRead = undefined
        reading = read(signal)
        return reading
      })
    return nextRead
  }

  async function settle(signal: AbortSignal): Promise<void> {
    if (!latest) return
    settling ??= adopt(latest, signal).finally(() => {
      settling = undefined
    })
    await settling
  }

  async function reread(signal: AbortSignal): Promise<void> {
    const ring = await follow(signal)
    if (!view || view.ring.version < ring.version) await settle(signal)
  }

  /** False until this replica's turn: all of them see the same thing due, and one attempt is enough. */
  function isTurn({ version }: Ring, urgent: boolean): boolean {
    if (turn?.version !== version) {
      const calm = Math.min(JITTER_MILLISECONDS, policy().publishAheadMilliseconds / JITTER_SHARE)
      const spread = urgent ? 0 : calm
      turn = { version, at: clock.now() + chance() * spread }
    }
    return turn.at <= clock.now()
  }

  async function keep(algorithms: readonly SigningAlgorithm[], signal: AbortSignal): Promise<void> {
    const ring = view?.ring
    if (!ring) return
    const now = clock.now()
    const patience = STAGED_MILLISECONDS + 2 * policy().skewMilliseconds
    const left = ring.keys.filter(
      ({ state, createdAt }) => state === 'staged' && createdAt + patience <= now,
    )
    const missing = missingKeys(ring, algorithms, policy(), now)
    const due = advance(ring, policy(), now) !== ring
    if (left.length === 0 && missing.length === 0 && !due) return
    // Nothing signs for an algorithm: better that every replica makes a key than that one second more is lost.
    const urgent = missing.some((alg) => !activeKey(ring, alg))
    if (!isTurn(ring, urgent)) return
    // Whatever fails is tried again later: a key store that is down defers a rotation, and nothing skips it.
    const pause = urgent ? URGENT_RETRY_MILLISECONDS : RETRY_MILLISECONDS
    turn = { version: ring.version, at: now + pause * (0.5 + chance()) }
    await exclusive(async () => {
      const stale = left.map(({ kid }) => kid)
      if (stale.length > 0) await giveUp(stale, 'the replica that made it is gone', signal)
      if (due) await commit(advanced, signal)
      if (missing.length > 0) {
        await halves.check(signal) // or each attempt would leave staged keys behind
        await supply(missing, wanted, KEPT_READY, signal)
      }
    })
    await reread(signal)
  }

  /** A rotation by time, only to a key that is known to work here. */
  function advanced(newest: Ring): Ring {
    const next = advance(newest, policy(), clock.now())
    mustBeLoaded(next)
    return next
  }

  /** The key that signs now is destroyed by a rotation: not before its successor is known to work. */
  function mustBeLoaded(ring: Ring): void {
    for (const key of ring.keys) {
      if (key.state === 'active' && !halves.isLoaded(tenant, key.kid))
        throw new PrivateHalfError(tenant, key, new Error('it was not loaded here'))
    }
  }

  async function rotateNow(
    which: SigningAlgorithm | 'all',
    changedBy: ChangedBy,
    signal: AbortSignal,
  ): Promise<void> {
    // Not the shared read: whoever asks for a rotation may go away, and must not take the answer of others along.
    await adopt(await read(signal), signal)
    const before = view?.ring ?? EMPTY_RING
    const algorithms = which === 'all' ? algorithmsOf(before) : [which]
    await exclusive(async () => {
      const bare = algorithms.filter((alg) => {
        nextToSign(before, alg, policy(), clock.now())
        return lacksSpare(before, alg)
      })
      if (bare.length > 0) {
        await supply(bare, lacksSpare, changedBy, signal)
      }
      const after = await commit((newest) => {
        // Two people who press the button at once mean one rotation.
        if (algorithms.some((alg) => activeKey(newest, alg)?.kid !== activeKey(before, alg)?.kid))
          throw changedMeanwhile()
        const next = rotate(newest, algorithms, policy(), { ...changedBy, now: clock.now() })
        mustBeLoaded(next)
        return next
      }, signal)
      await adopt(after, signal)
    })
  }

  async function changeOne(
    action: KeyAction,
    kid: string,
    changedBy: ChangedBy,
    signal: AbortSignal,
  ): Promise<void> {
    const after = await commit((newest) => {
      const next = ACTIONS[action](newest, kid, policy(), { ...changedBy, now: clock.now() })
      // A kill waits for nothing, not even for a successor that works: the killed key must stop.
      if (action === 'promote') mustBeLoaded(next)
      return next
    }, signal)
    await adopt(after, signal)
  }

  return {
    open: (algorithms, signal) => exclusive(() => open(algorithms, signal)),
    follow,
    settle,
    reread,
    keep,
    rotate: rotateNow,
    change: changeOne,
  }
}

/** Whether a rotation would leave the algorithm without a published key. */
function lacksSpare(ring: Ring, alg: SigningAlgorithm): boolean {
  return publishedKeys(ring, alg).length < 2
}

function changedMeanwhile(): RingError {
  return new RingError(
    'changed_meanwhile',
    'The ring was changed by somebody else meanwhile. Look at it again before you repeat this.',
  )
}
