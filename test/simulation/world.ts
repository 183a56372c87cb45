import type { Ring } from '../../src/keys/ring.ts'
import type { RingStore } from '../../src/keys/store.ts'
import { DependencyUnavailable } from '../../src/lib/unavailable.ts'
import type { Draw } from './draw.ts'
import { type Promises, STORE_DEADLINE_MILLISECONDS } from './promises.ts'

/** A machine as the stores see it. */
export interface Caller {
  /** Cannot reach the store of rings. */
  cutOff: boolean
  /** The newest ring that an answer brought it. */
  seen: Ring | undefined
}

/** What the replicas share: true time, the two stores, and every call to them that is under way. */
export interface World {
  now: number
  ring: Ring | undefined
  readonly halves: Set<string>
  halvesDown: boolean
  /** Keys ever made. */
  made: number
  /** Compare-and-set calls that others were faster than. */
  lostRaces: number
  ringsFor(caller: Caller): RingStore
  /** A call to the store of private halves. */
  callHalves<T>(caller: Caller, effect: () => T): Promise<T>
  /** Takes one call that is under way to its end. False when there is none. */
  runOne(): boolean
  /** No call is under way. */
  isIdle(): boolean
  /** The calls of a machine that died: what they ask for may have happened, and nobody is told. */
  abandon(caller: Caller): void
}

interface Call {
  readonly caller: Caller
  readonly store: 'rings' | 'halves'
  readonly askedAt: number
  /** What it does in the store; gives how the caller is told. */
  readonly effect: () => () => void
  readonly reject: (error: unknown) => void
}

/** How often a call fails in a store that is up; half of these have done what they were asked for. */
const FAILS = 0.02
/** How often an answer is old when it comes: hardly ever in some histories, often in others. */
const COMES_LATE = [0.05, 0.6]
const SLOWEST_CALL_MILLISECONDS = 300

/** Makes an empty world. Nothing in it happens by itself. */
export function createWorld(draw: Draw, start: number, promises: Promises): World {
  const pending: Call[] = []
  const comesLate = draw.pick(COMES_LATE)

  function call<T>(
    caller: Caller,
    store: Call['store'],
    effect: () => T,
    told: (value: T) => unknown = () => undefined,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const begun = () => {
        const value = effect()
        return () => {
          told(value)
          resolve(value)
        }
      }
      pending.push({ caller, store, askedAt: world.now, effect: begun, reject })
    })
  }

  function compareAndSet(expected: number, next: Ring): boolean {
    if ((world.ring?.version ?? 0) !== expected) {
      world.lostRaces += 1
      return false
    }
    const before = world.ring
    world.ring = next
    promises.committed(before, next, world.now)
    return true
  }

  /** Any of them, but none waits beyond the deadline that real calls have. */
  function takeOne(): Call | undefined {
    const latest = world.now - STORE_DEADLINE_MILLISECONDS + 1000
    const late = pending.findIndex(({ askedAt }) => askedAt < latest)
    return pending.splice(late >= 0 ? late : draw.between(0, pending.length - 1), 1)[0]
  }

  /** Mostly at once; now and then the answer is old when it comes. */
  function answer(one: Call, told: () => void): void {
    if (draw.chance(comesLate)) pending.push({ ...one, effect: () => told })
    else told()
  }

  const world: World = {
    now: start,
    ring: undefined,
    halves: new Set(),
    halvesDown: false,
    made: 0,
    lostRaces: 0,
    ringsFor(caller) {
      const read = (ring: Ring | undefined) => {
        if (ring && ring.version > (caller.seen?.version ?? 0)) caller.seen = ring
      }
      return {
        load: () => call(caller, 'rings', () => world.ring, read),
        compareAndSet: (_tenant, expected, next) =>
          call(
            caller,
            'rings',
            () => compareAndSet(expected, next),
            (done) => done && read(next),
          ),
      }
    },
    callHalves: (caller, effect) => call(caller, 'halves', effect),

    runOne() {
      const one = takeOne()
      if (!one) return false
      world.now += draw.between(0, SLOWEST_CALL_MILLISECONDS)
      const isDown = one.store === 'rings' ? one.caller.cutOff : world.halvesDown
      const fails = isDown || draw.chance(FAILS)
      try {
        if (!fails) answer(one, one.effect())
        else if (!isDown && draw.chance(0.5)) one.effect()
      } catch (error) {
        one.reject(error)
      }
      // Told after the effect: an answer that got lost.
      if (fails) one.reject(new DependencyUnavailable('The store gave no answer.'))
      return true
    },

    isIdle: () => pending.length === 0,

    abandon(caller) {
      for (const one of pending.filter((each) => each.caller === caller)) {
        pending.splice(pending.indexOf(one), 1)
        if (draw.chance(0.5)) continue
        try {
          one.effect()
        } catch {
          // Nobody is there to be told.
        }
      }
    },
  }
  return world
}
