import { createPublicKey } from 'node:crypto'
import type { Client } from '../../src/client/options.ts'
import { Secret } from '../../src/lib/secret.ts'
import type { AlgorithmName, Idp } from '../../src/subject/options.ts'
import type { OwnTokens } from '../../src/subject/own-token.ts'
import { createPublicKeys } from '../../src/subject/public-keys.ts'
import type { DeclaredTokenType, VerifiedSubject } from '../../src/subject/verified.ts'
import { createVerifiedCache } from '../../src/subject/verified-cache.ts'
import { createSubjectVerifier } from '../../src/subject/verify.ts'
import type { Tenant } from '../../src/tenant/tenant.ts'
import { createFakeJsonDocuments } from './json-documents.ts'
import { digestOf, jwksOf, mint, newTestKey, type TestKey } from './jwt.ts'
import { aClient, anIdp, aTenant } from './policy.ts'

/** A moment on a whole second, in seconds. */
export const START = 1_800_000_000
export const ISSUER = 'https://login.example'
export const JWKS_URI = 'https://login.example/jwks'

/** How a subject world differs from the plain one: one IdP `login` with an ES256 key, one client `orders-web`. */
export interface SubjectWorldOptions {
  readonly key?: TestKey
  readonly algorithms?: readonly AlgorithmName[]
  readonly idp?: Partial<Idp>
  readonly client?: Partial<Client>
  readonly tenant?: Partial<Omit<Tenant, 'rules'>>
  readonly tokenBytes?: number
  readonly skewSeconds?: number
}

/** The subject room with everything around it in memory: a clock to turn, an IdP whose every request is seen, a ledger to fill. */
export function createSubjectWorld(options: SubjectWorldOptions = {}) {
  const key = options.key ?? newTestKey('ES256', 'idp-1')
  const ownKey = newTestKey('ES256', 'own-1')
  const clock = { time: START * 1000, now: () => clock.time }
  const documents = createFakeJsonDocuments()
  const serve = (jwks: unknown): void =>
    documents.put(JWKS_URI, { document: jwks, maxAgeSeconds: 600 })
  serve(jwksOf(key))
  documents.put(`${ISSUER}/.well-known/openid-configuration`, {
    document: { issuer: ISSUER, jwks_uri: JWKS_URI },
  })
  const recorded = new Set<string>()
  const cutOff = new Set<string>()
  const ownVerification = { kid: ownKey.kid, alg: ownKey.alg, key: publicHalf(ownKey) }
  const own: OwnTokens = {
    keyFor: (tenant, kid) =>
      tenant === 'acme' && kid === ownKey.kid ? ownVerification : undefined,
    recorded: async (tenant, digest) => recorded.has(`${tenant} ${digest.toString('hex')}`),
    cutOff: (tenant, kid) => cutOff.has(`${tenant} ${kid}`),
  }
  const idp = anIdp({
    name: 'login',
    issuer: ISSUER,
    audiences: ['rolemint'],
    algorithms: options.algorithms ?? ['ES256'],
    keySource: { kind: 'discovery', issuer: ISSUER },
    userClaim: 'sub',
    ...options.idp,
  })
  const client = aClient({ id: 'orders-web', idps: ['login'], ...options.client })
  const tenant = aTenant({ client, idps: new Map([[idp.name, idp]]), ...options.tenant })
  const deps = {
    publicKeys: createPublicKeys({ documents, clock }),
    own,
    cache: createVerifiedCache({ clock }),
    clock,
  }
  const limits = {
    tokenBytes: options.tokenBytes ?? 16_384,
    skewSeconds: options.skewSeconds ?? 30,
  }
  const verifier = createSubjectVerifier(deps, () => limits)

  const claims = (over: Readonly<Record<string, unknown>> = {}) => ({
    iss: ISSUER,
    sub: 'u1',
    aud: 'rolemint',
    azp: 'orders-web',
    iat: START,
    exp: START + 300,
    ...over,
  })
  const token = (
    over: Readonly<Record<string, unknown>> = {},
    header: Readonly<Record<string, unknown>> = {},
  ): string => mint({ key, header, payload: claims(over) })
  const ownClaims = (over: Readonly<Record<string, unknown>> = {}) => ({
    iss: tenant.issuer,
    sub: 'u1',
    aud: 'https://api.example',
    client_id: 'orders-web',
    iat: START,
    nbf: START,
    exp: START + 3600,
    jti: 'own-jti',
    origin_jti: 'own-jti',
    session_exp: START + 43_200,
    roles: ['orders.read', 'orders.write'],
    tenant: 'acme',
    idp: 'login',
    ...over,
  })
  const record = (text: string, tenantName = 'acme'): string => {
    recorded.add(`${tenantName} ${digestOf(text).toString('hex')}`)
    return text
  }
  const mintOwn = (
    over: Readonly<Record<string, unknown>> = {},
    header: Readonly<Record<string, unknown>> = {},
  ): string => mint({ key: ownKey, header: { typ: 'at+jwt', ...header }, payload: ownClaims(over) })

  const subject = (
    text: string,
    type: DeclaredTokenType = 'jwt',
    as: { tenant?: Tenant; client?: Client; signal?: AbortSignal } = {},
  ): Promise<VerifiedSubject> =>
    verifier.subject(
      as.tenant ?? tenant,
      as.client ?? client,
      { token: new Secret(text), type },
      as.signal ?? new AbortController().signal,
    )

  /** Cuts off a key of ours, as the rules of a replica would tell after a kill. */
  const killKey = (kid = ownKey.kid, tenantName = 'acme'): void => {
    cutOff.add(`${tenantName} ${kid}`)
  }

  return {
    key,
    ownKey,
    clock,
    documents,
    serve,
    deps,
    limits,
    verifier,
    tenant,
    client,
    idp,
    claims,
    token,
    ownClaims,
    mintOwn,
    record,
    killKey,
    subject,
  }
}

/** A subject world. */
export type SubjectWorld = ReturnType<typeof createSubjectWorld>

function publicHalf(key: TestKey) {
  return createPublicKey(key.privateKey)
}
