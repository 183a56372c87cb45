import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fakeConfigFiles } from '../../test/fakes/config-files.ts'
import { type Loaded, loadConfig } from './load.ts'

/** The sample of the architecture (§7), sign for sign. */
const SAMPLE = `version: 1
listen:
  public: 0.0.0.0:8080                           # + tls: { cert, key, clientCa } and trustedProxies: [10.0.0.0/8]
  admin: 127.0.0.1:9090
  probes: 0.0.0.0:9091                           # default: the admin port
store: { sqlite: ./data/rolemint.db }            # or { postgres: "\${env:DATABASE_URL}" }
cache: memory                                    # or { valkey: "\${env:VALKEY_URL}" }
keys:
  store: { sealed: { kek: "\${file:/run/secrets/kek}" } }   # or { vault: { addr, auth: { appRole | jwt | token }, mount, path, namespace? } }
  signer: local                                  # local | { vaultTransit: { mount, ... } }
  algorithm: ES256                               # ES256 | ES384 | RS256 | PS256 (RSA ≥ 3072) | EdDSA; per target too
  rotateEvery: 30d
  publishAhead: 24h
audit: { retain: 400d }
limits: { perClient: 50/s, perSubject: 10/m, tokenBytes: 16KiB, skew: 30s }
tenants:
  acme:
    issuer: https://sts.acme.example
    idps:
      login:
        issuer: https://login.acme.example       # keys and algorithms come from discovery
        audience: rolemint
        algorithms: [RS256, ES256]
        user: upn                                # claim that names the user at the source
        upnDomains: [acme.example]               # required from the second IdP on; subjectPrefix likewise
        presenters: [acme-portal]                # azp/client_id values that may bring its tokens (default: the client's own id)
        requiredClaims: [email]
        onceOnly: false
    sources:
      hr:
        url: https://hr.acme.example/users/{user}/roles
        auth: { bearer: "\${file:/run/secrets/hr-token}" }
        roles: items[*].role
        nextPage: next
        timeout: { connect: 200ms, total: 800ms }
        cache: { fresh: 60s, stale: 5m, staleIfError: 15m, unknownUser: 30s }
        onFailure: deny                          # deny | stale | limited
    roles: { map: [ { from: SAP_ORD_R, to: orders.read } ], unmapped: drop, empty: deny, max: 200 }
    clients:
      orders-web:
        auth: { privateKeyJwt: { jwksUri: https://orders.acme.example/jwks } }   # or jwks; clientSecret: { sha256: [..] }; mtls; public
        idps: [login]
        grants: [exchange]                       # + refresh, introspect, introspect-any, revoke, feed
        exchangeOwn: false
        audiences: [https://api.acme.example]
        roles: [orders.read, orders.write]       # ceiling
    tokens: { ttl: 12h, refresh: off }
    cors: { origins: [] }
admins:
  oidc: { issuer: https://login.acme.example, audience: rolemint-admin, roles: { "sts-admins": admin } }
`

const KEK = Buffer.alloc(32, 7).toString('base64')

function loadSample(text = SAMPLE): Loaded {
  return loadConfig({
    path: '/etc/rolemint/rolemint.yaml',
    env: {},
    files: fakeConfigFiles({
      '/etc/rolemint/rolemint.yaml': text,
      '/run/secrets/kek': `${KEK}\n`,
      '/run/secrets/hr-token': 'hr-token-text\n',
      '/run/secrets/hr-token-2': 'hr-token-text\n',
    }),
  })
}

test('the complete sample of the architecture loads, and warns of what is not there yet', () => {
  const { warnings } = loadSample()

  assert.deepEqual(
    warnings.map(({ code, path }) => [code, path]),
    [
      ['config/not-available', 'admins.oidc'],
      ['config/ceiling-unreachable', 'tenants.acme.clients.orders-web.roles[1]'],
    ],
  )
})

test('the sample means what it says', () => {
  const { config } = loadSample()
  const acme = config.tenants.get('acme')

  assert.equal(config.listen.public.port, 8080)
  assert.equal(config.listen.probes?.port, 9091)
  assert.deepEqual(config.store, { kind: 'sqlite', path: '/etc/rolemint/data/rolemint.db' })
  assert.ok(config.keys.store?.kind === 'sealed')
  assert.equal(config.keys.store.kek.reveal(), KEK)
  assert.equal(config.tokenLimits.skewSeconds, 30)
  assert.equal(acme?.rules.ttlSeconds, 43_200)
  assert.equal(acme?.sources[0]?.auth?.value.reveal(), 'Bearer hr-token-text')
  assert.deepEqual(acme?.clients.get('orders-web')?.roles, ['orders.read', 'orders.write'])
})

test('a tenant knows the line of each of its settings', () => {
  const acme = loadSample().config.tenants.get('acme')
  const lines = SAMPLE.split('\n')
  const lineOf = (start: string) => 1 + lines.findIndex((line) => line.trim().startsWith(start))

  assert.equal(acme?.at('issuer'), `rolemint.yaml:${lineOf('issuer: https://sts')}`)
  assert.equal(acme?.at('roles.map[0]'), `rolemint.yaml:${lineOf('roles: { map')}`)
  assert.equal(
    acme?.at('clients.orders-web.roles'),
    `rolemint.yaml:${lineOf('roles: [orders.read')}`,
  )
  assert.equal(acme?.at('tokens.ttl'), `rolemint.yaml:${lineOf('tokens:')}`)
  assert.equal(acme?.at('roles.unknownUser'), 'default')
  assert.equal(acme?.at('clients.nobody.roles'), 'default')
})

test('the hash depends on what is in effect, not on order, comments, or secrets', () => {
  const { hash } = loadSample().config
  const hashOf = (from: string, to: string) => {
    assert.ok(SAMPLE.includes(from))
    return loadSample(SAMPLE.replace(from, to)).config.hash
  }

  assert.match(hash, /^[0-9a-f]{64}$/)
  assert.equal(hashOf('cache: memory', '# another comment'), hash, 'a default written out or not')
  assert.equal(hashOf('{ ttl: 12h, refresh: off }', '{ refresh: off, ttl: 12h }'), hash)
  assert.notEqual(hashOf('ttl: 12h', 'ttl: 11h'), hash)
  assert.notEqual(
    hashOf('/run/secrets/hr-token', '/run/secrets/hr-token-2'),
    hash,
    'another reference',
  )
})
