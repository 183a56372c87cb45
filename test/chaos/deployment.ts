/** A deployment on disk, for processes to serve: its configuration, its secrets, and what a client needs to talk to it. */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { type EntitlementApi, startEntitlementApi } from '../fakes/entitlement-api.ts'
import { jwksOf, mint, newTestKey } from '../fakes/jwt.ts'
import {
  at,
  CLIENT,
  type ConfigTree,
  EXCHANGE,
  IDP_ISSUER,
  ISSUER,
  JWT_TYPE,
  usualConfig,
} from '../fakes/sts.ts'

/** A second client, which authenticates by signed assertion. */
export const ASSERTING = 'orders-batch'

/** A configuration in a folder of its own. No server runs yet. */
export interface OnDisk {
  readonly folder: string
  readonly configFile: string
  readonly api: EntitlementApi
  /** `Authorization` of {@link CLIENT}. */
  readonly basic: string
  /** A fresh subject token of this user, `ada` unless told. */
  subjectToken(user?: string): string
  /** A fresh assertion of {@link ASSERTING}. */
  assertion(): string
  /** Form parameters of an exchange of a fresh subject token. */
  exchangeForm(user?: string): Record<string, string>
  /** Stops the entitlement API and removes the folder. */
  close(): Promise<void>
}

/** Writes a configuration that keeps its state in a SQLite file and listens on ports of the machine's choice. */
export async function writeDeployment(
  configure: (tree: ConfigTree) => void = () => {},
): Promise<OnDisk> {
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-served-'))
  const api = await startEntitlementApi()
  for (const user of ['ada', 'bob']) api.users.set(`${user}@acme.example`, ['SAP_ORD_R'])
  const idpKey = newTestKey('ES256', 'idp-1')
  const assertionKey = newTestKey('ES256', 'batch-1')
  const secret = `rms_${randomBytes(32).toString('base64url')}`
  const secretSha256 = createHash('sha256').update(secret).digest('base64url')
  const tree = usualConfig({ api, idpKey, secretSha256 })
  const clients = at(tree, 'tenants.acme.clients')
  clients[ASSERTING] = {
    ...at(clients, CLIENT),
    auth: { privateKeyJwt: { jwks: jwksOf(assertionKey) } },
  }
  configure(tree)
  const configFile = join(folder, 'rolemint.yaml')
  writeFileSync(join(folder, 'kek'), randomBytes(32).toString('base64url'), { mode: 0o600 })
  writeFileSync(configFile, stringify(tree, { aliasDuplicateObjects: false }))

  const subjectToken = (user = 'ada') => {
    const now = seconds()
    const payload = {
      iss: IDP_ISSUER,
      sub: user,
      aud: 'rolemint',
      iat: now,
      exp: now + 300,
      jti: randomUUID(),
      azp: CLIENT,
      upn: `${user}@acme.example`,
    }
    return mint({ key: idpKey, payload })
  }
  return {
    folder,
    configFile,
    api,
    basic: `Basic ${Buffer.from(`${CLIENT}:${secret}`).toString('base64')}`,
    subjectToken,
    assertion() {
      const now = seconds()
      const payload = { iss: ASSERTING, sub: ASSERTING, aud: ISSUER, iat: now, exp: now + 300 }
      return mint({ key: assertionKey, payload: { ...payload, jti: randomUUID() } })
    },
    exchangeForm: (user) => ({
      grant_type: EXCHANGE,
      subject_token_type: JWT_TYPE,
      subject_token: subjectToken(user),
    }),
    async close() {
      await api.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const seconds = () => Math.floor(Date.now() / 1000)
