import { createHash } from 'node:crypto'
import { BENCH_AUDIENCE, BENCH_CLIENT, BENCH_ISSUER, BENCH_TARGET } from './subject-tokens.ts'
import { BENCH_ROLES } from './vocabulary.ts'

/** What differs between the configurations of a bench. */
export interface BenchConfig {
  readonly clientSecret: string
  readonly idpPublicJwk: Readonly<Record<string, unknown>>
  readonly entitlementsPort: number
  readonly port: number
  readonly adminPort: number
  readonly databaseFile: string
  readonly kekFile: string
}

/** The configuration of every rolemint measured, and of the core exchange. JSON is YAML, so nothing has to be quoted by hand. */
export function benchConfig(setup: BenchConfig): string {
  const { clientSecret, idpPublicJwk, entitlementsPort, port, adminPort } = setup
  return JSON.stringify({
    version: 1,
    profile: 'dev',
    listen: { public: `127.0.0.1:${port}`, admin: `127.0.0.1:${adminPort}` },
    store: { sqlite: setup.databaseFile },
    keys: { store: { sealed: { kek: `\${file:${setup.kekFile}}` } }, publishAhead: '0s' },
    tenants: {
      bench: {
        issuer: `http://127.0.0.1:${port}`,
        idps: {
          bench: {
            issuer: BENCH_ISSUER,
            audience: BENCH_AUDIENCE,
            algorithms: ['ES256'],
            jwks: { keys: [idpPublicJwk] },
            user: 'upn',
            presenters: [BENCH_CLIENT],
          },
        },
        sources: {
          hr: {
            url: `http://127.0.0.1:${entitlementsPort}/users/{user}/roles`,
            roles: 'items[*].role',
            nextPage: 'next',
            echo: 'user',
            cache: { fresh: '1h' },
          },
        },
        roles: {
          map: [
            { from: 'SAP_ORD_R', to: BENCH_ROLES[0] },
            { from: 'SAP_ORD_W', to: BENCH_ROLES[1] },
          ],
        },
        clients: {
          [BENCH_CLIENT]: {
            auth: {
              clientSecret: {
                sha256: [createHash('sha256').update(clientSecret).digest('base64url')],
              },
            },
            idps: ['bench'],
            grants: ['exchange', 'introspect'],
            audiences: [BENCH_TARGET],
            resourceFor: [BENCH_TARGET],
            roles: [...BENCH_ROLES],
          },
        },
      },
    },
  })
}
