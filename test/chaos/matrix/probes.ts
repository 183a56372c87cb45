/** Requests of every kind, and what came back of them, in the words of `promises.ts`. */
import { randomUUID } from 'node:crypto'
import { Pool } from 'undici'
import { mint } from '../../fakes/jwt.ts'
import { EXCHANGE, JWT_TYPE } from '../../fakes/sts.ts'
import type { Served } from '../processes.ts'
import type { Outcome, ProbeName } from './promises.ts'
import {
  ISSUERS_TENANT,
  KNOWN_USER,
  LIMITED_TTL_SECONDS,
  MATRIX_CLIENT,
  RATE,
  RATED_TENANT,
  ROLES,
  type World,
} from './world.ts'

/** One request and its answer. */
export interface Shot {
  readonly probe: ProbeName
  readonly outcome: Outcome
  readonly seconds: number
  /** What a process said that did not start. */
  readonly said?: string
}

/** A token of ours, and the tenant that issued it. */
export interface IssuedToken {
  readonly tenant: string
  readonly token: string
}

/** Makes requests to one server. */
export interface Prober {
  shoot(probe: ProbeName): Promise<Shot>
  /** What has been issued since the last call. */
  takeIssued(): readonly IssuedToken[]
  introspect(issued: IssuedToken): Promise<Outcome>
  /** Roles that nobody may have been given, and answers that must never be; empty when all is well. */
  readonly breaches: readonly string[]
  /** The next issuer of {@link ISSUERS_TENANT} that the server has never heard of. */
  nextIssuer(): void
  close(): Promise<void>
}

/** Tokens that exist before any fault. */
export interface Keepsakes {
  readonly live: IssuedToken | undefined
  readonly dead: IssuedToken | undefined
}

/** Beyond any budget of the server: what takes longer is no answer. */
const PATIENCE_MILLISECONDS = 12_000

export function createProber(
  world: Pick<World, 'basic' | 'idpKey' | 'issuer'>,
  { url, adminUrl }: Pick<Served, 'url' | 'adminUrl'>,
  keepsakes: Keepsakes,
  issuers: { next: number },
): Prober {
  const pool = new Pool(url, { connections: 32, pipelining: 1 })
  const probes = new Pool(adminUrl, { connections: 2, pipelining: 1 })
  let issued: IssuedToken[] = []
  const breaches: string[] = []

  async function post(tenant: string, path: string, form: Readonly<Record<string, string>>) {
    const { statusCode, body } = await pool.request({
      method: 'POST',
      path,
      headers: {
        host: `${tenant}.matrix.example`,
        'content-type': 'application/x-www-form-urlencoded',
        authorization: world.basic,
      },
      body: new URLSearchParams(form).toString(),
      signal: AbortSignal.timeout(PATIENCE_MILLISECONDS),
    })
    return { status: statusCode, body: (await body.json()) as Record<string, unknown> }
  }

  /** A subject token as the IdP makes it; `kid` names another key than signs it. */
  function subjectToken(issuer: string, user: string, kid?: string): string {
    const now = Math.floor(Date.now() / 1000)
    const times = { iat: now, exp: now + 300, jti: randomUUID() }
    const who = { iss: world.issuer(issuer), sub: user, upn: user, azp: MATRIX_CLIENT }
    const header = kid === undefined ? {} : { kid }
    return mint({ key: world.idpKey, header, payload: { ...who, ...times, aud: 'rolemint' } })
  }

  async function exchange(tenant: string, user: string, token: string): Promise<Outcome> {
    const { status, body } = await post(tenant, '/token', {
      grant_type: EXCHANGE,
      subject_token_type: JWT_TYPE,
      subject_token: token,
    })
    const { access_token: made, error_code: code } = body
    if (status !== 200 || typeof made !== 'string') return refusal(status, code)
    issued.push({ tenant, token: made })
    const claims = claimsOf(made)
    const fault = faultOf(claims, user === KNOWN_USER ? ROLES.known : ROLES.new)
    if (fault !== undefined) breaches.push(fault)
    return statusOf(claims)
  }

  function refusal(status: number, code: unknown): Outcome {
    if (status === 500) breaches.push('an answer of 500')
    return `${status} ${String(code)}`
  }

  const known = (tenant: string) => () =>
    exchange(tenant, KNOWN_USER, subjectToken(tenant, KNOWN_USER))
  const unknown = (tenant: string) => () => {
    const user = `new-${randomUUID()}@matrix.example`
    return exchange(tenant, user, subjectToken(tenant, user))
  }

  async function introspect({ tenant, token }: IssuedToken): Promise<Outcome> {
    const { status, body } = await post(tenant, '/introspect', { token })
    if (status !== 200) return refusal(status, body['error_code'])
    return body['active'] === true ? 'active' : 'inactive'
  }

  /** Four times as much as the limit lets through, at once. */
  async function burst(): Promise<Outcome> {
    const user = `new-${randomUUID()}@matrix.example`
    const outcomes = await Promise.all(
      Array.from({ length: 4 * RATE }, () =>
        exchange(RATED_TENANT, user, subjectToken(RATED_TENANT, user)),
      ),
    )
    const accepted = outcomes.filter((outcome) => outcome === 'fresh').length
    const refused = outcomes.filter((outcome) => outcome === '429 rate_limited').length
    const isBounded = accepted >= 1 && accepted <= 2 * RATE
    if (isBounded && accepted + refused === outcomes.length) return 'bounded'
    return `${accepted} of ${outcomes.length} accepted, ${refused} refused`
  }

  async function kept(which: keyof Keepsakes): Promise<Outcome> {
    const token = keepsakes[which]
    if (!token) throw new Error(`no ${which} token was kept`)
    const outcome = await introspect(token)
    if (which === 'dead' && outcome === 'active')
      breaches.push('a token of a killed key was called active')
    return outcome
  }

  async function get(from: Pool, path: string): Promise<Outcome> {
    const { statusCode, body } = await from.request({
      method: 'GET',
      path,
      headers: from === pool ? { host: 'within.matrix.example' } : {},
      signal: AbortSignal.timeout(PATIENCE_MILLISECONDS),
    })
    await body.dump()
    return String(statusCode)
  }

  const shots: Readonly<Record<Exclude<ProbeName, `boot${string}`>, () => Promise<Outcome>>> = {
    'known-within': known('within'),
    'known-deny': known('deny'),
    'known-stale': known('stale'),
    'known-limited': known('limited'),
    'new-deny': unknown('deny'),
    'new-stale': unknown('stale'),
    'new-limited': unknown('limited'),
    'unknown-kid': () => {
      const token = subjectToken('within', KNOWN_USER, `kid-${randomUUID()}`)
      return exchange('within', KNOWN_USER, token)
    },
    limits: burst,
    'new-issuer': () => {
      const name = `i${issuers.next}`
      const user = `new-${randomUUID()}@${name}.matrix.example`
      return exchange(ISSUERS_TENANT, user, subjectToken(name, user))
    },
    introspect: () => kept('live'),
    'introspect-late': () => kept('live'),
    'killed-key': () => kept('dead'),
    jwks: () => get(pool, '/jwks'),
    livez: () => get(probes, '/livez'),
  }

  return {
    async shoot(probe) {
      const began = performance.now()
      if (probe === 'boot' || probe === 'boot-from-cache') throw new Error(`${probe} is no request`)
      const outcome = await shots[probe]().catch((error: unknown) => `no answer: ${nameOf(error)}`)
      return { probe, outcome, seconds: (performance.now() - began) / 1000 }
    },
    takeIssued() {
      const taken = issued
      issued = []
      return taken
    },
    introspect,
    breaches,
    nextIssuer: () => void (issuers.next += 1),
    close: async () => void (await Promise.all([pool.destroy(), probes.destroy()])),
  }
}

function statusOf(claims: Readonly<Record<string, unknown>>): Outcome {
  const { entitlements } = claims
  const isObject = entitlements !== null && typeof entitlements === 'object'
  return isObject && 'status' in entitlements ? String(entitlements.status) : 'no status'
}

/** What is wrong with an issued token; undefined when nothing is. */
function faultOf(
  claims: Readonly<Record<string, unknown>>,
  complete: readonly string[],
): string | undefined {
  const isLimited = statusOf(claims) === 'limited'
  const roles = JSON.stringify(claims['roles'])
  if (roles !== JSON.stringify(isLimited ? ROLES.limited : complete))
    return `wrong roles: ${roles} with entitlements ${statusOf(claims)}`
  const life = Number(claims['exp']) - Number(claims['iat'])
  return isLimited && life > LIMITED_TTL_SECONDS
    ? `a token with limited roles lives ${life} s`
    : undefined
}

function claimsOf(token: string): Readonly<Record<string, unknown>> {
  const payload: unknown = JSON.parse(
    Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
  )
  return Object.fromEntries(Object.entries(Object(payload)))
}

function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}
