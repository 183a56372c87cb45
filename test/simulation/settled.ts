import type { KeysSettings } from '../../src/keys/keys.ts'
import type { SigningAlgorithm } from '../../src/keys/options.ts'
import type { RingKey } from '../../src/keys/ring.ts'
import type { Machine } from './machine.ts'
import type { World } from './world.ts'

/** What is looked at once everything works again. */
export interface SettledWorld {
  readonly world: World
  readonly machines: readonly Machine[]
  readonly algorithms: readonly SigningAlgorithm[]
  readonly settings: KeysSettings
}

/** What is left to do in a ring that has had time, or undefined when all is as it should be. */
export function whatIsUnsettled({
  world,
  machines,
  algorithms,
  settings,
}: SettledWorld): string | undefined {
  const keys = world.ring?.keys ?? []
  if (!machines.every((machine) => machine.isInStep())) return 'a replica is not in step'
  const staged = keys.find(({ state }) => state === 'staged')
  if (staged) return `${staged.kid} is staged`
  for (const alg of algorithms) {
    const successors = publishedOf(keys, alg).length
    if (successors < settings.successors) return `${successors} ${alg} successors`
    // After a long outage the only successor may be too young yet: verifiers come before availability.
    const isOver = keys.some((key) => key.alg === alg && isSpent(key, world.now, settings))
    if (!isOver && !machines.every((machine) => machine.sign(alg)))
      return `a replica does not sign ${alg}`
  }
  const late = keys.find((key) => isLate(key, publishedOf(keys, key.alg), world.now, settings))
  if (late) return `${late.kid} is ${late.state} and should have changed`
  return halvesOutOfStep(world.halves, keys)
}

function publishedOf(keys: readonly RingKey[], alg: string): readonly RingKey[] {
  return keys.filter((key) => key.alg === alg && key.state === 'published')
}

/** A key whose time in its state is over, by the clock of every replica. */
function isLate(
  key: RingKey,
  successors: readonly RingKey[],
  now: number,
  settings: KeysSettings,
): boolean {
  const { skewMilliseconds: skew, publishAheadMilliseconds: ahead } = settings
  const { state, activatedAt = 0, signUntil = 0 } = key
  if (state === 'verify-only') return now > signUntil + settings.longestTokenMilliseconds + 4 * skew
  if (state !== 'active') return false
  const isDue = now > activatedAt + settings.rotateEveryMilliseconds + skew
  return isDue && successors.some(({ publishedAt = 0 }) => now > publishedAt + ahead + 3 * skew)
}

/** A key that signs and whose time is over, by the clock of some replica. */
function isSpent({ state, signUntil = 0 }: RingKey, now: number, settings: KeysSettings): boolean {
  return state === 'active' && now > signUntil - settings.skewMilliseconds
}

/** The store holds the private halves of the keys that sign or will sign, and no other. */
function halvesOutOfStep(
  halves: ReadonlySet<string>,
  keys: readonly RingKey[],
): string | undefined {
  const needed = keys.filter(({ state }) => state === 'published' || state === 'active')
  const missing = needed.find(({ kid }) => !halves.has(kid))
  if (missing) return `the private half of ${missing.kid} is lost`
  const names = new Set(needed.map(({ kid }) => kid))
  const left = [...halves].find((kid) => !names.has(kid))
  return left && `the private half of ${left} is still in the store`
}
