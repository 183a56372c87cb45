/** A whole deployment in this process, over real sockets: our IdP's keys are in the configuration, the entitlement API is a fake one. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { issueAdminToken } from '../../src/cli/admin.ts'
import { compose, type Deployment, type Parts } from '../../src/compose.ts'
import { loadConfig } from '../../src/config/load.ts'
import { createLog } from '../../src/observe/log.ts'
import { type EntitlementApi, startEntitlementApi } from './entitlement-api.ts'
import { jwksOf, type Minted, mint, newTestKey, type TestKey } from './jwt.ts'

export const ISSUER = 'https://sts.acme.example'
export const IDP_ISSUER = 'https://login.acme.example'
export const CLIENT = 'orders-web'
export const API = 'https://api.acme.example'
export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt'

/** Plain data of a configuration; what a test changes. */
export type ConfigTree = { [key: string]: unknown }

export interface StsOptions {
  /** Changes the configuration before it is written: `tenants.acme` is the only tenant of the usual one. */
  readonly configure?: (
    config: ConfigTree,
    facts: { readonly api: EntitlementApi; readonly idpKey: TestKey },
  ) => void
  readonly parts?: Partial<Parts>
}

/** An answer of the server, read. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly body: Record<string, unknown>
}

/** A running deployment and what a test needs to talk to it. */
export interface Sts {
  /** Base of the public listener; the issuer is {@link ISSUER}. */
  readonly url: string
  readonly adminUrl: string
  readonly deployment: Deployment
  readonly api: EntitlementApi
  readonly idpKey: TestKey
  readonly clientSecret: string
  readonly databaseFile: string
  /** Everything that was logged. */
  logged(): string
  /** A subject token of the IdP; `undefined` members are left out. */
  subjectToken(claims?: Readonly<Record<string, unknown>>, over?: Partial<Minted>): string
  /** POST /token with Basic authentication of {@link CLIENT} unless told otherwise. */
  token(
    form: Readonly<Record<string, string | readonly string[]>>,
    init?: RequestInit,
  ): Promise<Answer>
  /** One successful exchange; its access token. */
  exchange(form?: Readonly<Record<string, string>>): Promise<string>
  introspect(token: string): Promise<Answer>
  /** The admin API as `admin`. */
  admin(method: string, path: string, body?: unknown): Promise<Answer>
  close(): Promise<void>
}

/** The usual configuration: one tenant, one IdP, one source, one confidential client. */
export function usualConfig(facts: {
  readonly api: EntitlementApi
  readonly idpKey: TestKey
  readonly secretSha256: string
}): ConfigTree {
  return {
    version: 1,
    profile: 'dev',
    listen: { public: '127.0.0.1:0', admin: '127.0.0.1:0' },
    store: { sqlite: './rolemint.db' },
    keys: { store: { sealed: { kek: '${file:./kek}' } } },
    tenants: {
      acme: {
        issuer: ISSUER,
        idps: {
          login: {
            issuer: IDP_ISSUER,
            audience: 'rolemint',
            algorithms: ['ES256'],
            jwks: jwksOf(facts.idpKey),
            user: 'upn',
            presenters: [CLIENT],
          },
        },
        sources: {
          hr: {
            url: facts.api.url,
            roles: 'items[*].role',
            nextPage: 'next',
            echo: 'user',
            timeout: { connect: '2s', total: '5s' },
          },
        },
        roles: {
          map: [
            { from: 'SAP_ORD_R', to: 'orders.read' },
            { from: 'SAP_ORD_W', to: 'orders.write' },
          ],
        },
        clients: {
          [CLIENT]: {
            auth: { clientSecret: { sha256: [facts.secretSha256] } },
            idps: ['login'],
            grants: ['exchange', 'introspect'],
            exchangeOwn: true,
            audiences: [API, 'https://other.acme.example'],
            resourceFor: [API],
            scopes: ['read', 'write'],
            roles: ['orders.read', 'orders.write'],
          },
        },
      },
    },
  }
}

/** Starts a deployment; close it in `after`. Nothing is left running when it cannot start. */
export async function startSts(options: StsOptions = {}): Promise<Sts> {
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-test-'))
  const api = await startEntitlementApi()
  try {
    return await startIn(folder, api, options)
  } catch (error) {
    await api.close()
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

async function startIn(
  folder: string,
  api: EntitlementApi,
  { configure, parts = {} }: StsOptions,
): Promise<Sts> {
  api.users.set('ada@acme.example', ['SAP_ORD_R', 'SAP_ORD_W', 'SAP_OTHER'])
  api.users.set('bob@acme.example', ['SAP_ORD_R'])
  const idpKey = newTestKey('ES256', 'idp-1')
  const clientSecret = `rms_${randomBytes(32).toString('base64url')}`
  const secretSha256 = createHash('sha256').update(clientSecret).digest('base64url')
  const tree = usualConfig({ api, idpKey, secretSha256 })
  configure?.(tree, { api, idpKey })
  for (const secret of ['kek', 'source-token'])
    writeFileSync(join(folder, secret), randomBytes(32).toString('base64url'), { mode: 0o600 })
  writeFileSync(join(folder, 'rolemint.yaml'), stringify(tree, { aliasDuplicateObjects: false }))
  const { config } = loadConfig({ path: join(folder, 'rolemint.yaml'), env: {} })

  let lines = ''
  const log = createLog({ write: (line: string) => void (lines += line) }, 'debug')
  // A rotation is allowed at once: tests that are about the waits set their own.
  const keyPolicy = { publishAheadMilliseconds: 0, skewMilliseconds: 0 }
  const deployment = await compose(config, { log, keyPolicy, ...parts })
  const { public: url, admin: adminUrl } = await deployment.listen()
  const adminToken = await issueAdminToken(deployment.stores.adminTokens, 'admin', 'test')

  const subjectToken: Sts['subjectToken'] = (claims = {}, over = {}) => {
    const now = Math.floor((parts.clock?.now() ?? Date.now()) / 1000)
    const usual = {
      iss: IDP_ISSUER,
      sub: 'ada',
      aud: 'rolemint',
      iat: now,
      exp: now + 300,
      azp: CLIENT,
      upn: 'ada@acme.example',
    }
    return mint({ key: idpKey, payload: { ...usual, ...claims }, ...over })
  }
  const basic = `Basic ${Buffer.from(`${CLIENT}:${clientSecret}`).toString('base64')}`
  const token: Sts['token'] = (form, init = {}) =>
    ask(`${url}/token`, {
      method: 'POST',
      body: encode(form),
      headers: { authorization: basic },
      ...init,
    })
  return {
    url,
    adminUrl,
    deployment,
    api,
    idpKey,
    clientSecret,
    databaseFile: join(folder, 'rolemint.db'),
    logged: () => lines,
    subjectToken,
    token,
    async exchange(form = {}) {
      const answer = await token({
        grant_type: EXCHANGE,
        subject_token_type: JWT_TYPE,
        subject_token: form['subject_token'] ?? subjectToken(),
        ...form,
      })
      if (typeof answer.body['access_token'] !== 'string')
        throw new Error(`no token: ${answer.text}`)
      return answer.body['access_token']
    },
    introspect: (given) =>
      ask(`${url}/introspect`, {
        method: 'POST',
        body: encode({ token: given }),
        headers: { authorization: basic },
      }),
    admin: (method, path, body) =>
      ask(`${adminUrl}/admin/v1${path}`, {
        method,
        headers: {
          authorization: `Bearer ${adminToken.reveal()}`,
          'content-type': 'application/json',
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    async close() {
      await deployment.close()
      await api.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The form body of these parameters; a list repeats its name. */
export function encode(
  form: Readonly<Record<string, string | readonly string[]>>,
): URLSearchParams {
  const encoded = new URLSearchParams()
  for (const [name, value] of Object.entries(form)) {
    for (const each of typeof value === 'string' ? [value] : value) encoded.append(name, each)
  }
  return encoded
}

/** Sends a request and reads the answer whole. */
export async function ask(url: string, init?: RequestInit): Promise<Answer> {
  const response = await fetch(url, { redirect: 'manual', ...init })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, body: objectOf(text) }
}

function objectOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return value !== null && typeof value === 'object'
      ? Object.fromEntries(Object.entries(value))
      : {}
  } catch {
    return {}
  }
}

/** The object at a dotted path of a configuration tree, to be changed in place. @throws when there is none. */
export function at(tree: ConfigTree, path: string): ConfigTree {
  let node: unknown = tree
  for (const step of path.split('.')) {
    node = isTree(node) ? node[step] : undefined
  }
  if (!isTree(node)) throw new Error(`no object at ${path}`)
  return node
}

function isTree(value: unknown): value is ConfigTree {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
