import type { createKeys, SigningKey } from '../../src/keys/keys.ts'
import type { SigningAlgorithm } from '../../src/keys/options.ts'
import type { KeyAction } from '../../src/keys/tenant-ring.ts'
import { isRefusal } from '../../src/lib/refusal.ts'
import type { Draw } from './draw.ts'
import { createSimulatedHalves } from './halves.ts'
import type { Promises } from './promises.ts'
import type { Caller, World } from './world.ts'

const TENANT = 'acme'
const DAY = 86_400_000
const MOST_DRIFT_A_DAY = 40_000

/** How calls may end besides well: refusals of the ring, and stores that do not answer. Anything else is a bug. */
const EXPECTED = new Set(['RingError', 'PrivateHalfError', 'DependencyUnavailable', 'Refusal'])

/** One process: the real keys of the product, with a clock of its own, on the shared stores. */
export interface Machine extends Caller {
  /** Begins what its timers do, as far as that is not under way still; opens its rings first. */
  tick(): void
  /** Begins a change by hand. */
  order(action: KeyAction | 'rotate', kid: string): void
  /** Signs with the key of now, or with the one it was given at an earlier time. True when it could. */
  sign(alg: SigningAlgorithm, isLate?: boolean): boolean
  /** Its clock is set: wrong by up to the skew that the policy allows, and it may run back. */
  setClock(): void
  /** It is open and uses the ring as it is stored. */
  isInStep(): boolean
}

/** What machines are made of. */
export interface MachineDeps {
  readonly world: World
  readonly promises: Promises
  readonly draw: Draw
  readonly settings: Parameters<typeof createKeys>[1]
  readonly createKeys: typeof createKeys
  readonly broken: (what: string) => void
}

/** Switches a machine on. */
export function createMachine(deps: MachineDeps): Machine {
  const { world, promises, draw, settings, broken } = deps
  const { skewMilliseconds } = settings()
  const never = new AbortController().signal
  const given = new Map<SigningAlgorithm, SigningKey>()
  const busy = new Set<string>()
  let isOpen = false
  let set = { off: 0, drift: 0, at: world.now }

  const clock = {
    now() {
      const drifted = set.off + (set.drift * (world.now - set.at)) / DAY
      return Math.floor(
        world.now + Math.max(-skewMilliseconds, Math.min(skewMilliseconds, drifted)),
      )
    },
  }

  /** One at a time of each kind, as the timers of a process do it. */
  function begin(kind: string, work: () => Promise<unknown>): void {
    if (busy.has(kind)) return
    busy.add(kind)
    const ended = () => void busy.delete(kind)
    work().then(ended, (error: unknown) => {
      ended()
      if (!isExpected(error)) broken(`${kind} failed: ${String(error)}`)
    })
  }

  async function open(): Promise<void> {
    await keys.open([TENANT], never)
    isOpen = true
  }

  function tick(): void {
    if (!isOpen) return begin('open', open)
    begin('follow', () => keys.follow(never))
    begin('keep', () => keys.keep(never))
  }

  function order(action: KeyAction | 'rotate', kid: string): void {
    if (!isOpen) return
    const changedBy = { by: 'ada', reason: 'by hand' }
    begin(`order to ${action}`, () =>
      action === 'rotate'
        ? keys.rotate(TENANT, 'all', changedBy, never)
        : keys.change(TENANT, action, kid, changedBy, never),
    )
  }

  function sign(alg: SigningAlgorithm, isLate = false): boolean {
    if (!isOpen) return false
    try {
      const key = (isLate && given.get(alg)) || keys.signingKey(TENANT, alg)
      given.set(alg, key)
      void keys.sign(key, 'header.payload')
      return true
    } catch (error) {
      given.delete(alg)
      if (!isRefusal(error, 'signer_unavailable')) broken(`signing failed: ${String(error)}`)
      return false
    }
  }

  const machine: Machine = {
    cutOff: false,
    seen: undefined,
    tick,
    order,
    sign,
    setClock() {
      const off = draw.pick([-skewMilliseconds, skewMilliseconds, draw.between(-1, 1) * 10_000])
      set = { off, drift: draw.between(-MOST_DRIFT_A_DAY, MOST_DRIFT_A_DAY), at: world.now }
    },
    isInStep: () => isOpen && keys.list(TENANT) === world.ring?.keys,
  }
  const { custody, signer } = createSimulatedHalves({
    world,
    caller: machine,
    clock,
    draw,
    promises,
  })
  const keys = deps.createKeys(
    { rings: world.ringsFor(machine), custody, signer, clock, chance: () => draw.next() },
    settings,
  )
  machine.setClock()
  return machine
}

function isExpected(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.every(isExpected)
  return error instanceof Error && EXPECTED.has(error.name)
}
