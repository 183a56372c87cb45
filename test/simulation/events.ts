import type { RingKey } from '../../src/keys/ring.ts'
import type { Draw } from './draw.ts'
import type { Machine } from './machine.ts'
import { DAY, HOUR, MINUTE, SECOND } from './times.ts'
import type { World } from './world.ts'

/** Stores go down and come up, replicas are cut off and found again, clocks are set. */
export function trouble(
  world: World,
  draw: Draw,
  machines: readonly Machine[],
  happened: (what: string, detail: string) => void,
): void {
  if (draw.chance(world.halvesDown ? 0.2 : 0.04)) {
    world.halvesDown = !world.halvesDown
    happened('key store', world.halvesDown ? 'down' : 'up')
  }
  for (const [at, machine] of machines.entries()) {
    if (draw.chance(machine.cutOff ? 0.2 : 0.03)) {
      machine.cutOff = !machine.cutOff
      happened(machine.cutOff ? 'cut off' : 'reachable', `replica ${at}`)
    }
    if (draw.chance(0.03)) machine.setClock()
  }
}

/** An order that is likely to be given at an instant. */
interface Order {
  readonly action: 'promote' | 'retire' | 'rotate' | 'kill'
  readonly kid: string
}

/** Lets time pass: seconds, hours, or up to about the instant at which something becomes allowed. */
export function jump(world: World, draw: Draw): Order | undefined {
  const kind = draw.next()
  if (kind < 0.4) world.now += draw.between(1, 90) * SECOND
  else if (kind < 0.5) world.now += draw.between(2, 30) * MINUTE
  else if (kind < 0.8) world.now += draw.between(1, 10) * HOUR
  else return jumpToEdge(world, draw)
  return undefined
}

/** Instants at which a guard begins to give way, by what the ring says: bugs live at edges. */
function jumpToEdge(world: World, draw: Draw): Order | undefined {
  const edges = (world.ring?.keys ?? []).flatMap((key) => edgesOf(key))
  if (edges.length === 0) return undefined
  const { at, order } = draw.pick(edges)
  const to = at + draw.between(-200, 250) * SECOND
  if (to <= world.now || to > world.now + 3 * DAY) return undefined
  world.now = to
  return draw.chance(0.7) ? order : undefined
}

function edgesOf(key: RingKey): { at: number; order?: Order }[] {
  const { kid, state, publishedAt = 0, signUntil = 0, verifyOnlyAt = 0 } = key
  if (state === 'published') {
    const at = publishedAt + DAY
    return [
      { at, order: { action: 'promote', kid } },
      { at, order: { action: 'rotate', kid } },
    ]
  }
  if (state === 'active') return [{ at: signUntil }, { at: signUntil - DAY }]
  if (state !== 'verify-only') return []
  const order: Order = { action: 'retire', kid }
  return [
    { at: signUntil },
    { at: signUntil + 6 * HOUR, order },
    { at: verifyOnlyAt + 6 * HOUR, order },
  ]
}

/** Whatever an operator may do at any time, sensible or not. */
export function orderAnything(world: World, draw: Draw, machine: Machine): void {
  const keys = world.ring?.keys ?? []
  if (keys.length === 0) return
  const action = draw.pick(['rotate', 'promote', 'promote', 'retire', 'kill'] as const)
  const signing = keys.filter(({ state }) => state === 'active')
  // A kill is worth most where it hurts.
  const fit = action === 'kill' && signing.length > 0 && draw.chance(0.5) ? signing : keys
  machine.order(action, draw.pick(fit).kid)
}
