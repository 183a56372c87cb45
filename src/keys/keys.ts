import { Refusal } from '../lib/refusal.ts'
import type { RenderedJwks } from './jwks.ts'
import type { KeyOptions, SigningAlgorithm } from './options.ts'
import { createPrivateHalves, type PrivateHalvesDeps } from './private-halves.ts'
import { activatableFrom, type RingKey, type RingPolicy } from './ring.ts'
import type { SignerKey } from './signer.ts'
import type { RingStore } from './store.ts'
import { type ChangedBy, createTenantRing, type Rotation, type TenantRing } from './tenant-ring.ts'
import type { RingView, VerificationKey } from './view.ts'

/** The key that signs a token; the same object as long as the ring does not change. */
export type SigningKey = SignerKey

/** What the admin API tells about a key. Times are milliseconds since the epoch. */
export type KeyMetadata = RingKey & {
  /** With a published key: the first instant at which a rotation may make it sign. */
  readonly activatableFrom?: number
}

/** What the keys need. */
export interface KeysDeps extends PrivateHalvesDeps {
  readonly rings: RingStore
}

/** The `keys` section, and the two waits that other sections decide. */
export type KeysSettings = KeyOptions & RingPolicy

/** Our signing keys, by tenant. Nothing here is on the request path but memory and the signer. */
export interface Keys {
  /**
   * Reads the ring of each tenant, creates those that do not exist, adds algorithms that came into use, and loads the private halves.
   * @throws {PrivateHalfError} when a ring exists and one of its private halves cannot be opened: nothing is made in its place.
   */
  open(tenants: readonly string[], signal: AbortSignal): Promise<void>
  /** The algorithm of tokens for this audience. */
  algorithmFor(audience: string): SigningAlgorithm
  /** @throws {Refusal} `signer_unavailable` when the tenant has no active key of this algorithm. */
  signingKey(tenant: string, alg: SigningAlgorithm): SigningKey
  /**
   * Signs `signingInput` with a key that `signingKey` gave. A key that a rotation has replaced in between still signs for 10 s.
   * @throws {Refusal} `signer_unavailable`.
   */
  sign(key: SigningKey, signingInput: string): Buffer | Promise<Buffer>
  /**
   * The public key behind a `kid` of ours, if it signs now or has signed: published keys are none.
   * A kid that this process does not know to sign makes it read the ring again, since another replica may have rotated just now.
   * @throws {Refusal} `signer_unavailable` when that read fails and the answer is therefore not known.
   */
  verificationKey(tenant: string, kid: string): Promise<VerificationKey | undefined>
  /** The JWK Set of the tenant, ready to be sent. @throws {Refusal} `signer_unavailable` before the ring was read. */
  jwks(tenant: string): RenderedJwks
  /** All keys the tenant ever had, in the order they came. */
  list(tenant: string): readonly KeyMetadata[]
  /**
   * Puts the published successor in the place of the active key, for one algorithm or for all of the ring (all or none).
   * @throws {RingError} `published_too_recently` (with `allowedFrom`), `algorithm_not_in_ring`, `changed_meanwhile`.
   * @throws {PrivateHalfError} when the successor is not usable here.
   * @throws {Refusal} `signer_unavailable` when the tenant was not opened.
   */
  rotate(
    tenant: string,
    which: SigningAlgorithm | 'all',
    changedBy: ChangedBy,
    signal: AbortSignal,
  ): Promise<readonly Rotation[]>
  /**
   * Follows rotations done elsewhere and finishes what failed before (loading, destroying). Called every second.
   * A tenant whose ring cannot be read keeps the keys it has: until order 2 brings `signUntil`, a replica cut off from the
   * store goes on signing with a key that others have replaced, which JWKS covers for an hour.
   * @throws {AggregateError} naming the tenants that could not be read, after all were tried.
   */
  refresh(signal: AbortSignal): Promise<void>
}

const REREAD_TIMEOUT_MILLISECONDS = 2000

/** Keeps the key rings of all tenants of this process. */
export function createKeys(deps: KeysDeps, options: () => KeysSettings): Keys {
  const halves = createPrivateHalves(deps)
  const tenants = new Map<string, TenantRing>()
  const views = new Map<string, RingView>()

  function ringOf(tenant: string): TenantRing {
    const known = tenants.get(tenant)
    if (known) return known
    const created = createTenantRing(
      {
        rings: deps.rings,
        halves,
        clock: deps.clock,
        show: (view) => views.set(tenant, view),
      },
      tenant,
      options,
    )
    tenants.set(tenant, created)
    return created
  }

  function viewOf(tenant: string): RingView {
    const view = views.get(tenant)
    if (!view) throw unavailable(new Error(`the key ring of tenant ${tenant} was not opened`))
    return view
  }

  return {
    async open(names, signal) {
      const algorithms = algorithmsInUse(options())
      const opened = await Promise.allSettled(
        names.map((tenant) => ringOf(tenant).open(algorithms, signal)),
      )
      const failed = opened.find((one) => one.status === 'rejected')
      if (failed) throw failed.reason
    },

    algorithmFor(audience) {
      const { algorithm, perTarget } = options()
      // An audience is text from outside: `constructor` must not find what every object has.
      return Object.hasOwn(perTarget, audience) ? (perTarget[audience] ?? algorithm) : algorithm
    },

    signingKey(tenant, alg) {
      const key = viewOf(tenant).signing.get(alg)
      if (!key) throw unavailable(new Error(`tenant ${tenant} has no active ${alg} key`))
      return key
    },

    sign: (key, signingInput) => deps.signer.sign(key, signingInput),

    async verificationKey(tenant, kid) {
      const { ring, verification } = viewOf(tenant)
      const known = verification.get(kid)
      if (known) return known
      const state = ring.keys.find((key) => key.kid === kid)?.state
      if (state === 'retired' || state === 'compromised') return undefined
      // The signal of no caller: the read is shared, and one impatient caller must not fail the others.
      await ringOf(tenant)
        .reread(AbortSignal.timeout(REREAD_TIMEOUT_MILLISECONDS))
        .catch((cause: unknown) => {
          throw unavailable(cause)
        })
      return viewOf(tenant).verification.get(kid)
    },

    jwks: (tenant) => viewOf(tenant).jwks,

    list(tenant) {
      const policy = options()
      const now = deps.clock.now()
      return viewOf(tenant).ring.keys.map((key) =>
        key.state === 'published'
          ? { ...key, activatableFrom: activatableFrom(key, policy, now) }
          : key,
      )
    },

    async rotate(tenant, which, changedBy, signal) {
      viewOf(tenant)
      return ringOf(tenant).rotate(which, changedBy, signal)
    },

    async refresh(signal) {
      const rings = [...tenants.values()]
      const outcomes = await Promise.allSettled(rings.map((ring) => ring.reread(signal)))
      const failures = outcomes.flatMap((one): unknown[] =>
        one.status === 'rejected' ? [one.reason] : [],
      )
      if (failures.length > 0)
        throw new AggregateError(failures, `${failures.length} key rings could not be read again`)
    },
  }
}

function algorithmsInUse({ algorithm, perTarget }: KeyOptions): readonly SigningAlgorithm[] {
  return [...new Set([algorithm, ...Object.values(perTarget)])]
}

function unavailable(cause: unknown): Refusal {
  return new Refusal(
    'signer_unavailable',
    'The signing keys are not available now. Try again shortly.',
    { cause, retryAfterSeconds: 2 },
  )
}
