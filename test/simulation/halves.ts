import type { Custody } from '../../src/keys/private-halves.ts'
import type { RingKey } from '../../src/keys/ring.ts'
import type { Signer } from '../../src/keys/signer.ts'
import type { Clock } from '../../src/lib/clock.ts'
import { Refusal } from '../../src/lib/refusal.ts'
import type { Draw } from './draw.ts'
import type { Promises } from './promises.ts'
import type { Caller, World } from './world.ts'

/** One public key for all: the simulation is about rings, and making real keys would take most of its time. */
const PUBLIC_JWK = {
  kty: 'OKP',
  crv: 'Ed25519',
  x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', // RFC 8037 appendix A.2
}

/** How often a new key has the kid of an old one. Real ones never do; the ring must not rely on it. */
const COLLIDES = 0.03

interface HalvesDeps {
  readonly world: World
  readonly caller: Caller
  readonly clock: Clock
  readonly draw: Draw
  readonly promises: Promises
}

/** What `stored-halves.ts` and the local signer do, without the cryptography: the private half of a key is its kid. */
export function createSimulatedHalves(deps: HalvesDeps): { custody: Custody; signer: Signer } {
  const { world, caller, clock, draw, promises } = deps
  const loaded = new Set<string>()

  function newKid(): string {
    const old = world.ring?.keys ?? []
    world.made += 1
    return old.length > 0 && draw.chance(COLLIDES) ? draw.pick(old).kid : `k${world.made}`
  }

  function put(kid: string): void {
    if (world.halves.has(kid)) throw new Error('a kid is never overwritten')
    world.halves.add(kid)
  }

  async function load({ kid }: RingKey): Promise<void> {
    if (!(await world.callHalves(caller, () => world.halves.has(kid))))
      throw new Error('it is not in the store')
    loaded.add(kid)
  }

  function destroy(kid: string): void {
    if (world.halves.delete(kid)) promises.destroyed(kid)
  }

  return {
    custody: {
      signsByStore: false,
      check: () => world.callHalves(caller, () => undefined),
      async make(_tenant, alg) {
        const kid = newKid()
        return {
          key: { kid, alg, publicJwk: PUBLIC_JWK },
          keep: () => world.callHalves(caller, () => put(kid)),
          forget: () => Promise.resolve(),
        }
      },
      load: (_tenant, key) => load(key),
      unload: (_tenant, kid) => void loaded.delete(kid),
      destroy: (_tenant, { kid }) => world.callHalves(caller, () => destroy(kid)),
    },
    signer: {
      sign({ kid }) {
        if (!loaded.has(kid)) throw new Refusal('signer_unavailable', 'The key is not loaded.')
        promises.signed({ kid, clock: clock.now(), seen: caller.seen })
        return Buffer.alloc(0)
      },
    },
  }
}
