import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fakeConfigFiles } from '../../test/fakes/config-files.ts'
import { loadConfig } from './load.ts'

const KUBERNETES_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token'
const FILES = {
  '/c/kek': '07'.repeat(32),
  '/c/ca.pem': '-----BEGIN CERTIFICATE-----',
  '/c/vault/secret-id': 'secret-id',
  [KUBERNETES_TOKEN]: 'service-account',
}
const REST = `tenants:
  acme:
    issuer: https://sts.acme.example
    idps: { login: { issuer: https://login.acme.example, audience: rolemint } }
    clients: {}
    consumers: { orders-api: { caches: 24h }, billing: {} }
`

function configOf(keys: string, env: Readonly<Record<string, string>> = {}) {
  const text = `version: 1\nkeys:\n${keys}${REST}`
  const files = fakeConfigFiles({ ...FILES, '/c/rolemint.yaml': text })
  return loadConfig({ path: '/c/rolemint.yaml', files, env }).config
}

test('keys sealed in the store get the default life, with two successors in production', () => {
  const { store, ...others } = configOf('  store: { sealed: { kek: "${file:kek}" } }\n').keys

  assert.equal(store?.kind, 'sealed')
  assert.deepEqual(others, {
    signer: { kind: 'local' },
    cache: undefined,
    algorithm: 'ES256',
    perTarget: {},
    rotateEveryMilliseconds: 30 * 24 * 3_600_000,
    publishAheadMilliseconds: 24 * 3_600_000,
    successors: 2,
    jwksMaxAgeSeconds: 300,
    jwksStaleIfErrorSeconds: 43_200,
  })
})

test('in dev one successor is kept ready', () => {
  const dev = { ROLEMINT_PROFILE: 'dev' }
  const { keys } = configOf('  store: { sealed: { kek: "${file:kek}" } }\n', dev)
  assert.equal(keys.successors, 1)
})

test('keys in Vault: files are found from the folder of the configuration, and mounts have their usual names', () => {
  const { store, cache } = configOf(`  store:
    vault:
      addr: https://vault.example:8200/
      ca: ca.pem
      auth: { appRole: { roleId: rolemint, secretIdFile: vault/secret-id } }
      wrapWith: { key: kek }
  cache: { file: keys.cache, kek: "\${file:kek}" }
`).keys

  assert.deepEqual(store, {
    kind: 'vault',
    vault: {
      addr: 'https://vault.example:8200',
      namespace: undefined,
      caFile: '/c/ca.pem',
      auth: {
        kind: 'appRole',
        mount: 'approle',
        roleId: 'rolemint',
        secretId: undefined,
        secretIdFile: '/c/vault/secret-id',
      },
    },
    mount: 'rolemint',
    path: 'keys',
    wrapWith: { mount: 'transit', key: 'kek' },
  })
  assert.equal(cache?.file, '/c/keys.cache')
  assert.equal(cache.maxAgeMilliseconds, 72 * 3_600_000)
})

test('Kubernetes is a JWT login with the token of the service account', () => {
  const { store, signer } = configOf(`  signer:
    vaultTransit: { addr: "https://vault.example", auth: { kubernetes: { role: sts } }, timeout: 250ms }
`).keys

  assert.equal(store, undefined)
  assert.ok(signer.kind === 'vault-transit')
  assert.deepEqual(signer.vault.auth, {
    kind: 'jwt',
    mount: 'kubernetes',
    role: 'sts',
    tokenFile: KUBERNETES_TOKEN,
  })
  assert.deepEqual(
    [signer.mount, signer.prefix, signer.timeoutMilliseconds],
    ['transit', 'rolemint', 250],
  )
})

test('a Vault token may come from the environment alone', () => {
  const { store } = configOf('  store: { vault: { addr: "https://vault.example" } }\n', {
    ROLEMINT_KEYS_STORE_VAULT_AUTH_TOKEN: 'hvs.token',
  }).keys

  assert.ok(store?.kind === 'vault' && store.vault.auth.kind === 'token')
  assert.equal(store.vault.auth.token?.reveal(), 'hvs.token')
})

test('named consumers are known by tenant, with how long they keep a copy', () => {
  const { tenants } = configOf('  store: { sealed: { kek: "${file:kek}" } }\n')
  assert.deepEqual(
    [...(tenants.get('acme')?.consumers ?? [])],
    [
      ['orders-api', { cachesMilliseconds: 24 * 3_600_000 }],
      ['billing', { cachesMilliseconds: undefined }],
    ],
  )
})
