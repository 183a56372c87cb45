import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Log } from '../observe/log.ts'
import type { KeyOptions, SigningAlgorithm } from './options.ts'
import { type Custody, createPrivateHalves } from './private-halves.ts'
import type { Ring, RingKey, RingPolicy } from './ring.ts'
import type { Signer } from './signer.ts'
import type { KeyUsage, RingStore } from './store.ts'
import { type ChangedBy, createTenantRing, type KeyAction, type TenantRing } from './tenant-ring.ts'
import { type ServedJwks, servedJwks } from './timetable.ts'
import type { RingView, SigningKey, VerificationKey } from './view.ts'

export type { SigningKey } from './view.ts'

/** What the keys need. */
export interface KeysDeps {
  readonly rings: RingStore
  readonly custody: Custody
  readonly signer: Signer
  readonly clock: Clock
  /** A number in [0, 1) that spreads the attempts of replicas. */
  readonly chance: () => number
  readonly log?: Log | undefined
  /** Told of each change that this process made to a ring, after it is durable. */
  readonly changed?: (tenant: string, before: Ring, after: Ring) => void
}

/** The `keys` section, and the two waits that other sections decide. */
export type KeysSettings = Pick<
  KeyOptions,
  'algorithm' | 'perTarget' | 'jwksMaxAgeSeconds' | 'jwksStaleIfErrorSeconds'
> &
  RingPolicy

/** Our signing keys, by tenant. Nothing here is on the request path but memory and the signer. */
export interface Keys {
  /**
   * Reads the ring of each tenant, creates those that do not exist, adds algorithms that came into use, and loads the private halves.
   * @throws {PrivateHalfError} when a ring exists and one of its private halves cannot be opened: nothing is made in its place.
   */
  open(tenants: readonly string[], signal: AbortSignal): Promise<void>
  /** The algorithm of tokens for this audience. */
  algorithmFor(audience: string): SigningAlgorithm
  /** @throws {Refusal} `signer_unavailable` when the tenant has no active key of this algorithm, or its time is over. */
  signingKey(tenant: string, alg: SigningAlgorithm): SigningKey
  /**
   * Signs `signingInput` with a key that `signingKey` gave. A key that a rotation has replaced in between still signs for 10 s, a killed
   * one or one past its `signUntil` does not.
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
  jwks(tenant: string): ServedJwks
  /** All keys of the tenant as this process knows them, in the order they came. */
  list(tenant: string): readonly RingKey[]
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
  ): Promise<void>
  /**
   * Promotes, retires or kills one key. A kill is durable and obeyed here when this resolves; other replicas obey within a second.
   * @throws {RingError} as the transition of this name says.
   */
  change(
    tenant: string,
    action: KeyAction,
    kid: string,
    changedBy: ChangedBy,
    signal: AbortSignal,
  ): Promise<void>
  /**
   * Follows changes done elsewhere, as far as that needs no key store: called every second, and never held up by one.
   * A tenant whose ring cannot be read keeps the keys it has until their `signUntil`.
   * @throws {AggregateError} naming the failures, after all tenants were tried.
   */
  follow(signal: AbortSignal): Promise<void>
  /**
   * Loads and destroys private halves, and does what is due in every ring: retires, rotates, publishes successors. Every replica calls
   * it every second, beside `follow`; what fails is tried again. @throws {AggregateError} as `follow`.
   */
  keep(signal: AbortSignal): Promise<void>
  /** What was signed since the last call, by tenant. */
  takeUsage(): readonly (KeyUsage & { readonly tenant: string })[]
}

const REREAD_TIMEOUT_MILLISECONDS = 2000
const MINUTE_MILLISECONDS = 60_000

/** Keeps the key rings of all tenants of this process. */
export function createKeys(deps: KeysDeps, options: () => KeysSettings): Keys {
  const { rings, custody, signer, clock, chance, log, changed } = deps
  const halves = createPrivateHalves({ custody, clock, log })
  const tenants = new Map<string, TenantRing>()
  const views = new Map<string, RingView>()
  /** Keys that were used and have something to report, also after a rotation took them out of the view. */
  const used = new Set<SigningKey>()

  function ringOf(tenant: string): TenantRing {
    const known = tenants.get(tenant)
    if (known) return known
    const created = createTenantRing(
      {
        rings,
        halves,
        clock,
        chance,
        show: (view) => views.set(tenant, view),
        changed: (before, after) => changed?.(tenant, before, after),
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

  async function inEveryRing(work: (ring: TenantRing) => Promise<unknown>): Promise<void> {
    const outcomes = await Promise.allSettled([...tenants.values()].map(work))
    const failures = outcomes.flatMap((one): unknown[] =>
      one.status === 'rejected' ? [one.reason] : [],
    )
    if (failures.length > 0)
      throw new AggregateError(
        failures,
        `${failures.length} key rings could not be kept up to date`,
      )
  }

  function count(key: SigningKey, now: number): void {
    key.unreported.signatures += 1
    key.unreported.lastAt = now
    used.add(key)
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
      mustHaveTime(key, clock.now())
      return key
    },

    sign(key, signingInput) {
      const now = clock.now()
      // Asked again: recording may have taken a while. JWKS keeps the key for tokens made up to signUntil, not for later ones.
      mustHaveTime(key, now)
      const signature = signer.sign(key, signingInput)
      count(key, now)
      return signature
    },

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

    jwks(tenant) {
      const { ring, jwks } = viewOf(tenant)
      return servedJwks(jwks, ring, options(), clock.now())
    },

    list: (tenant) => viewOf(tenant).ring.keys,

    async rotate(tenant, which, changedBy, signal) {
      viewOf(tenant)
      return ringOf(tenant).rotate(which, changedBy, signal)
    },

    async change(tenant, action, kid, changedBy, signal) {
      viewOf(tenant)
      return ringOf(tenant).change(action, kid, changedBy, signal)
    },

    follow: (signal) => inEveryRing((ring) => ring.follow(signal)),

    keep: (signal) => {
      const algorithms = algorithmsInUse(options())
      return inEveryRing(async (ring) => {
        await ring.settle(signal)
        await ring.keep(algorithms, signal)
      })
    },

    takeUsage() {
      const taken = [...used].map(({ tenant, kid, unreported }) => {
        const { signatures, lastAt } = unreported
        unreported.signatures = 0
        const lastSignedAt = Math.floor(lastAt / MINUTE_MILLISECONDS) * MINUTE_MILLISECONDS
        return { tenant, kid, signatures, lastSignedAt }
      })
      used.clear()
      return taken
    },
  }
}

function mustHaveTime(key: SigningKey, now: number): void {
  if (now < key.signUntil) return
  throw unavailable(
    new Error(`the time of key ${key.kid} is over, and no other has taken its place`),
  )
}

function algorithmsInUse({
  algorithm,
  perTarget,
}: Pick<KeyOptions, 'algorithm' | 'perTarget'>): readonly SigningAlgorithm[] {
  return [...new Set([algorithm, ...Object.values(perTarget)])]
}

function unavailable(cause: unknown): Refusal {
  return new Refusal(
    'signer_unavailable',
    'The signing keys are not available now. Try again shortly.',
    { cause, retryAfterSeconds: 2 },
  )
}
