/** A deployment whose signing keys live for seconds instead of months, with many tenants, so that a key changes all the time. */
import type { Ring, RingKey } from '../../src/keys/ring.ts'
import { freePort } from '../fakes/free-port.ts'
import {
  type Answer,
  ask,
  at,
  CLIENT,
  EXCHANGE,
  encode,
  JWT_TYPE,
  type Sts,
  startSts,
} from '../fakes/sts.ts'
import type { Trusted } from '../fakes/verifiers/verifier.ts'

/**
 * The waits of the configuration, each the least that its rules allow (config/rules/key-times.ts), so that a guard that is one second
 * short shows: publishAhead = 2 × max-age + skew + 2 s, rotateEvery = 6 × ttl.
 */
export const ACCELERATED = {
  skewSeconds: 1,
  ttlSeconds: 4,
  maxAgeSeconds: 5,
  publishAheadSeconds: 13,
  rotateEverySeconds: 24,
} as const

/** One running deployment with accelerated keys. */
export interface Rotating {
  /** By the index of the tenant. */
  readonly trusted: readonly Trusted[]
  /** One exchange of a fresh subject token. @throws when it is refused. */
  exchange(tenant: number): Promise<string>
  /** All keys of the tenant, as the server knows them now. */
  keys(tenant: number): readonly RingKey[]
  /** The JWK Set as it is served now. */
  jwks(tenant: number): { readonly kids: readonly string[]; readonly maxAgeSeconds: number }
  /** Rotates through the admin API. @throws when it is refused. */
  rotate(tenant: number): Promise<void>
  /** When the next rotation by hand is allowed (milliseconds since the epoch); never while no successor is published. */
  rotatableFrom(tenant: number): number
  /** Writes another ring into the store, behind the server's back. */
  doctor(tenant: number, change: (ring: Ring) => Ring): Promise<void>
  readonly sts: Sts
  close(): Promise<void>
}

const STORE_MILLISECONDS = 20_000
const ATTEMPTS = 20

const nameOf = (tenant: number) => `t${tenant}`
const audienceOf = (tenant: number) => `rolemint-${nameOf(tenant)}`

/**
 * Starts it with so many tenants; their keys are of different ages, so that rotations are spread evenly over time. `isGuarded: false`
 * takes away the wait between publishing a key and signing with it.
 */
export async function startRotating(
  tenants: number,
  { isGuarded = true }: { readonly isGuarded?: boolean } = {},
): Promise<Rotating> {
  const port = await freePort()
  const trusted = Array.from({ length: tenants }, (_, tenant): Trusted => {
    const issuer = `http://127.0.0.1:${port}/${nameOf(tenant)}`
    return { issuer, jwksUri: `${issuer}/jwks`, audience: 'https://api.acme.example' }
  })
  const keyPolicy = {
    // The ring waits for the longest life that any configuration allows. No token of ours here lives for longer than this, and keys
    // are to leave JWKS as early as they may.
    longestTokenMilliseconds: ACCELERATED.ttlSeconds * 1000,
    ...(isGuarded ? {} : { publishAheadMilliseconds: 0, skewMilliseconds: 0 }),
  }
  const sts = await startSts({
    configure(tree) {
      const { skewSeconds, ttlSeconds, maxAgeSeconds, publishAheadSeconds } = ACCELERATED
      at(tree, 'listen')['public'] = `127.0.0.1:${port}`
      tree['limits'] = { skew: `${skewSeconds}s` }
      Object.assign(at(tree, 'keys'), {
        rotateEvery: `${ACCELERATED.rotateEverySeconds}s`,
        publishAhead: `${publishAheadSeconds}s`,
        jwks: { maxAge: `${maxAgeSeconds}s`, staleIfError: '0s' },
      })
      const usual = at(tree, 'tenants.acme')
      const login = at(usual, 'idps.login')
      const tenant = ({ issuer }: Trusted, index: number) => ({
        ...usual,
        issuer,
        idps: { login: { ...login, audience: audienceOf(index) } },
        tokens: { ttl: `${ttlSeconds}s` },
      })
      tree['tenants'] = Object.fromEntries(
        trusted.map((one, index) => [nameOf(index), tenant(one, index)]),
      )
    },
    parts: { keyPolicy },
  })
  const basic = `Basic ${Buffer.from(`${CLIENT}:${sts.clientSecret}`).toString('base64')}`
  const { stores, keys } = sts.deployment

  const rotating: Rotating = {
    trusted,
    sts,
    async exchange(tenant) {
      const answer = await ask(`${trusted[tenant]?.issuer}/token`, {
        method: 'POST',
        headers: { authorization: basic },
        body: encode({
          grant_type: EXCHANGE,
          subject_token_type: JWT_TYPE,
          subject_token: sts.subjectToken({ aud: audienceOf(tenant) }),
        }),
        signal: AbortSignal.timeout(STORE_MILLISECONDS),
      })
      const { access_token: token } = answer.body
      if (typeof token !== 'string') throw refused(answer, sts)
      return token
    },
    keys: (tenant) => keys.list(nameOf(tenant)),
    jwks: (tenant) => keys.jwks(nameOf(tenant)),
    async rotate(tenant) {
      const body = { tenant: nameOf(tenant), reason: 'as soon as it is allowed' }
      const answer = await sts.admin('POST', '/keys/rotate', body)
      if (answer.status !== 200) throw refused(answer, sts)
    },
    rotatableFrom(tenant) {
      const { publishAheadSeconds, skewSeconds } = ACCELERATED
      const wait = isGuarded ? (publishAheadSeconds + 2 * skewSeconds) * 1000 : 0
      const successors = rotating.keys(tenant).filter(({ state }) => state === 'published')
      return Math.min(...successors.map(({ publishedAt = 0 }) => publishedAt + wait))
    },
    async doctor(tenant, change) {
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        const signal = AbortSignal.timeout(STORE_MILLISECONDS)
        const ring = await stores.rings.load(nameOf(tenant), signal)
        if (!ring) break
        const next = { ...change(ring), version: ring.version + 1 }
        if (await stores.rings.compareAndSet(nameOf(tenant), ring.version, next, signal)) return
      }
      throw new Error(`the ring of ${nameOf(tenant)} could not be changed`)
    },
    close: () => sts.close(),
  }
  try {
    const spread = (ACCELERATED.rotateEverySeconds * 1000) / tenants
    await Promise.all(
      trusted.map((_, tenant) => rotating.doctor(tenant, (ring) => older(ring, tenant * spread))),
    )
    return rotating
  } catch (error) {
    await rotating.close()
    throw error
  }
}

/** What was answered, and what the log says about it. */
function refused({ status, body }: Answer, sts: Sts): Error {
  const { error_code: code, request_id: id } = body
  const lines = sts
    .logged()
    .split('\n')
    .filter((line) => typeof id === 'string' && line.includes(id))
  return new Error(`${status} ${String(code)}, log: ${lines.join(' ')}`)
}

/** The ring as it would be had it come so much earlier. Nobody has fetched anything of it yet. */
function older(ring: Ring, milliseconds: number): Ring {
  const earlier = (time: number | undefined) =>
    time === undefined ? 0 : Math.round(time - milliseconds)
  const keys = ring.keys.map((key) => ({
    ...key,
    createdAt: earlier(key.createdAt),
    publishedAt: earlier(key.publishedAt),
    ...(key.activatedAt === undefined ? {} : { activatedAt: earlier(key.activatedAt) }),
    ...(key.signUntil === undefined ? {} : { signUntil: earlier(key.signUntil) }),
  }))
  return { ...ring, keys }
}
