/** Configurations under which keys could go wrong, each with the place where the loader must stop. Also used by the proofs. */
import { loadConfig } from '../../src/config/load.ts'
import { ConfigError, type Problem, type ProblemCode } from '../../src/config/problem.ts'
import { fakeConfigFiles } from '../fakes/config-files.ts'

const KEK = '07'.repeat(32)

const TENANT = `limits: { skew: 30s }
tenants:
  acme:
    issuer: https://sts.acme.example
    idps: { login: { issuer: https://login.acme.example, audience: rolemint } }
    clients: {}
    tokens: { ttl: 12h }
    consumers: { orders-api: { caches: 20h }, billing: {} }
`

const PLACE = '  vault: { addr: "https://vault.example:8200", AUTH }\n'.trim()

/** Configurations that load, and that the rows below break. */
export const SAFE = {
  sealed: `version: 1
keys:
  store: { sealed: { kek: "\${file:kek}" } }
  rotateEvery: 30d
  publishAhead: 24h
  successors: 2
  jwks: { maxAge: 5m, staleIfError: 12h }
${TENANT}`,
  vault: `version: 1
keys:
  store:
    vault:
      addr: https://vault.example:8200
      namespace: team/sts
      ca: ca.pem
      auth: { appRole: { roleId: rolemint, secretIdFile: ./secret-id } }
      wrapWith: { key: rolemint-kek }
  cache: { file: ./keys.cache, kek: "\${file:cache-kek}", maxAge: 72h }
${TENANT}`,
  transit: `version: 1
keys:
  signer: { vaultTransit: { addr: "https://vault.example:8200", auth: { tokenFile: ./token } } }
  algorithm: EdDSA
${TENANT}`,
  /** What tests use that live through a rotation in seconds. */
  fast: `version: 1
profile: dev
keys:
  store: { ${PLACE.replace('AUTH', 'auth: { token: "${env:TOKEN}" }')} }
  rotateEvery: 20s
  publishAhead: 6s
  jwks: { maxAge: 1s, staleIfError: 0s }
limits: { skew: 1s }
tenants:
  acme:
    issuer: http://127.0.0.1:8080
    idps: { login: { issuer: https://login.acme.example, audience: rolemint } }
    clients: {}
    tokens: { ttl: 3s }
`,
} as const

/** One way to break one of {@link SAFE}: `▸` stands where the caret belongs. */
export interface UnsafeKeys {
  readonly base: keyof typeof SAFE
  readonly from: string
  readonly to: string
  readonly code: ProblemCode
  /** What the mend says. */
  readonly mend: RegExp
}

const APP_ROLE = '{ appRole: { roleId: rolemint, secretIdFile: ./secret-id } }'
const SEALED = 'store: { sealed: { kek: "${file:kek}" } }'

/** By what is wrong with it. */
export const UNSAFE: Readonly<Record<string, UnsafeKeys>> = {
  // A key signs before every verifier knows it.
  'publishAhead below what the cache headers allow': {
    base: 'sealed',
    from: 'publishAhead: 24h\n  successors: 2\n  jwks: { maxAge: 5m, staleIfError: 12h }',
    to: 'publishAhead: ▸26h\n  successors: 2\n  jwks: { maxAge: 5m, staleIfError: 26h }',
    code: 'config/publish-ahead',
    mend: /publishAhead: 94232s/,
  },
  'publishAhead one second short in dev': {
    base: 'fast',
    from: 'publishAhead: 6s',
    to: 'publishAhead: ▸4s',
    code: 'config/publish-ahead',
    mend: /publishAhead: 5s or more/,
  },
  'cache headers that outgrow the default publishAhead': {
    base: 'sealed',
    from: 'publishAhead: 24h\n  successors: 2\n  jwks: { maxAge: 5m, staleIfError: 12h }',
    to: 'jwks: { maxAge: ▸12h }',
    code: 'config/publish-ahead',
    mend: /publishAhead: 129632s/,
  },
  'publishAhead below what a named consumer keeps': {
    base: 'sealed',
    from: 'caches: 20h',
    to: 'caches: 48h',
    code: 'config/publish-ahead',
    mend: /publishAhead: 2d or more/,
  },
  'a named consumer that outlasts the default publishAhead': {
    base: 'vault',
    from: 'caches: 20h',
    to: 'caches: ▸25h',
    code: 'config/publish-ahead',
    mend: /publishAhead: 25h/,
  },
  'publishAhead under a day in production': {
    base: 'sealed',
    from: 'publishAhead: 24h\n  successors: 2\n  jwks: { maxAge: 5m, staleIfError: 12h }',
    to: 'publishAhead: ▸23h\n  jwks: { maxAge: 5m, staleIfError: 1h }',
    code: 'config/publish-ahead',
    mend: /publishAhead: 1d/,
  },
  'no publishAhead in production': {
    base: 'sealed',
    from: 'publishAhead: 24h',
    to: 'publishAhead: ▸0s',
    code: 'config/publish-ahead',
    mend: /1d/,
  },
  'a max-age of nothing': {
    base: 'sealed',
    from: 'maxAge: 5m',
    to: 'maxAge: ▸500ms',
    code: 'config/bad-value',
    mend: /1s to 24h/,
  },
  'a max-age of days': {
    base: 'sealed',
    from: 'maxAge: 5m',
    to: 'maxAge: ▸2d',
    code: 'config/bad-value',
    mend: /1s to 24h/,
  },
  // Keys change too often, or hardly ever.
  'a rotation within six token lives': {
    base: 'sealed',
    from: 'rotateEvery: 30d',
    to: 'rotateEvery: ▸71h',
    code: 'config/rotation',
    mend: /rotateEvery: 3d or more/,
  },
  'a rotation within six token lives in dev': {
    base: 'fast',
    from: 'ttl: 3s',
    to: 'ttl: 4s',
    code: 'config/rotation',
    mend: /rotateEvery: 24s/,
  },
  'a rotation before its successor was ever published': {
    base: 'sealed',
    from: 'rotateEvery: 30d\n  publishAhead: 24h',
    to: 'rotateEvery: ▸20d\n  publishAhead: 20d',
    code: 'config/rotation',
    mend: /rotateEvery: 1771201s/,
  },
  'a publishAhead longer than the default rotation': {
    base: 'sealed',
    from: 'rotateEvery: 30d\n  publishAhead: 24h',
    to: 'publishAhead: ▸30d',
    code: 'config/rotation',
    mend: /rotateEvery: 2635201s/,
  },
  'a rotation every few years': {
    base: 'sealed',
    from: 'rotateEvery: 30d',
    to: 'rotateEvery: ▸401d',
    code: 'config/rotation',
    mend: /400d or less/,
  },
  'no successor at all': {
    base: 'sealed',
    from: 'successors: 2',
    to: 'successors: ▸0',
    code: 'config/bad-value',
    mend: /from 1 to 5/,
  },
  'more successors than anybody needs': {
    base: 'sealed',
    from: 'successors: 2',
    to: 'successors: ▸6',
    code: 'config/bad-value',
    mend: /from 1 to 5/,
  },
  'a single successor in production': {
    base: 'sealed',
    from: 'successors: 2',
    to: 'successors: ▸1',
    code: 'config/successors',
    mend: /write 2/,
  },
  // Keys have no safe place, or two.
  'no store in production': {
    base: 'sealed',
    from: `  ${SEALED}\n`,
    to: '',
    code: 'config/kek-missing',
    mend: /sealed/,
  },
  'no store in dev': {
    base: 'fast',
    from: `  store: { ${PLACE.replace('AUTH', 'auth: { token: "${env:TOKEN}" }')} }\n`,
    to: '',
    code: 'config/kek-missing',
    mend: /sealed/,
  },
  'two stores': {
    base: 'sealed',
    from: 'kek: "${file:kek}" } }',
    to: `kek: "\${file:kek}" }, ▸${PLACE.replace('AUTH', 'auth: { tokenFile: ./token }')} }`,
    code: 'config/conflict',
    mend: /keep one of sealed, vault/,
  },
  'a store beside a signer that never gives keys away': {
    base: 'transit',
    from: '  algorithm: EdDSA',
    to: '  ▸store: { sealed: { kek: "${file:kek}" } }',
    code: 'config/conflict',
    mend: /remove keys\.store/,
  },
  'a key-encryption key written out': {
    base: 'sealed',
    from: '"${file:kek}"',
    to: `▸"${KEK}"`,
    code: 'config/literal-secret',
    mend: /\$\{file:PATH\}/,
  },
  'a key-encryption key that is also another secret': {
    base: 'vault',
    from: `${APP_ROLE}\n`,
    to: `{ appRole: { roleId: rolemint, secretId: "\${file:cache-kek}" } }\n`,
    code: 'config/conflict',
    mend: /of its own/,
  },
  'a copy of keys that are in no Vault': {
    base: 'sealed',
    from: '  successors: 2',
    to: '  ▸cache: { file: ./keys.cache, kek: "${file:cache-kek}" }',
    code: 'config/conflict',
    mend: /remove keys\.cache/,
  },
  'a copy of keys with a key-encryption key written out': {
    base: 'vault',
    from: '"${file:cache-kek}"',
    to: `▸"${KEK}"`,
    code: 'config/literal-secret',
    mend: /\$\{file:PATH\}/,
  },
  'a copy of keys with a short key-encryption key': {
    base: 'vault',
    from: '"${file:cache-kek}"',
    to: '▸"${env:TOKEN}"',
    code: 'config/kek-form',
    mend: /openssl rand/,
  },
  'a copy of keys that is good for longer than a month': {
    base: 'vault',
    from: 'maxAge: 72h }',
    to: 'maxAge: ▸31d }\n  rotateEvery: 60d',
    code: 'config/bad-value',
    mend: /at most 30d/,
  },
  'a copy of keys that is good for longer than a rotation': {
    base: 'vault',
    from: 'maxAge: 72h }',
    to: 'maxAge: ▸5d }\n  rotateEvery: 4d',
    code: 'config/bad-value',
    mend: /rotateEvery/,
  },
  'a copy of keys that is good for no time': {
    base: 'vault',
    from: 'maxAge: 72h',
    to: 'maxAge: ▸0s',
    code: 'config/bad-value',
    mend: /remove keys\.cache/,
  },
  // Vault is somebody else's, or does not let us in.
  'Vault over plain http in production': {
    base: 'vault',
    from: 'addr: https',
    to: 'addr: ▸http',
    code: 'config/insecure-url',
    mend: /https/,
  },
  'Vault over plain http beyond this machine in dev': {
    base: 'fast',
    from: '"https://vault',
    to: '▸"http://vault',
    code: 'config/insecure-url',
    mend: /127\.0\.0\.1/,
  },
  'a password in the address of Vault': {
    base: 'vault',
    from: 'addr: https://',
    to: 'addr: ▸https://me:hunter2@',
    code: 'config/literal-secret',
    mend: /before the @/,
  },
  'a query in the address of Vault': {
    base: 'vault',
    from: 'vault.example:8200\n',
    to: 'vault.example:8200?a=b\n',
    code: 'config/bad-value',
    mend: /\?/,
  },
  'a path that climbs out of its mount': {
    base: 'vault',
    from: 'namespace: team/sts',
    to: 'path: ▸keys/../other',
    code: 'config/bad-value',
    mend: /matches/,
  },
  'a CA that is no certificate': {
    base: 'vault',
    from: 'ca: ca.pem',
    to: 'ca: ▸kek',
    code: 'config/missing-file',
    mend: /PEM/,
  },
  'two ways to log in': {
    base: 'vault',
    from: APP_ROLE,
    to: '{ tokenFile: ./token, ▸jwt: { role: sts, tokenFile: ./token } }',
    code: 'config/conflict',
    mend: /keep one of appRole/,
  },
  'no way to log in': {
    base: 'vault',
    from: `auth: ${APP_ROLE}`,
    to: '▸auth: {}',
    code: 'config/missing-key',
    mend: /give one of appRole/,
  },
  'nothing said about logging in': {
    base: 'vault',
    from: `    vault:\n`,
    to: `    ▸vault:\n`,
    code: 'config/missing-key',
    mend: /add auth/,
  },
  'two secret-ids': {
    base: 'vault',
    from: 'secretIdFile: ./secret-id',
    to: 'secretId: "${env:TOKEN}", secretIdFile: ▸./secret-id',
    code: 'config/conflict',
    mend: /keep secretId or secretIdFile/,
  },
  'no secret-id': {
    base: 'vault',
    from: 'appRole: { roleId: rolemint, secretIdFile: ./secret-id }',
    to: '▸appRole: { roleId: rolemint }',
    code: 'config/missing-key',
    mend: /secretIdFile/,
  },
  'a secret-id written out': {
    base: 'vault',
    from: 'secretIdFile: ./secret-id',
    to: 'secretId: ▸hunter2',
    code: 'config/literal-secret',
    mend: /\$\{file:PATH\}/,
  },
  'a Vault token written out': {
    base: 'fast',
    from: '"${env:TOKEN}"',
    to: '▸hvs.hunter2',
    code: 'config/literal-secret',
    mend: /\$\{file:PATH\}/,
  },
  'a Vault token where its file belongs': {
    base: 'transit',
    from: './token',
    to: '▸hvs.hunter2',
    code: 'config/bad-value',
    mend: /matches/,
  },
  'a token file that is not there': {
    base: 'transit',
    from: './token',
    to: '▸./no-such',
    code: 'config/missing-secret',
    mend: /create it/,
  },
  'a workload token that is not there': {
    base: 'vault',
    from: APP_ROLE,
    to: '{ jwt: { role: sts, tokenFile: ▸/run/no-such } }',
    code: 'config/missing-secret',
    mend: /create it/,
  },
  'a secret-id file that is empty': {
    base: 'vault',
    from: './secret-id',
    to: '▸./empty',
    code: 'config/missing-secret',
    mend: /create it/,
  },
  'a service account outside of Kubernetes': {
    base: 'transit',
    from: '{ tokenFile: ./token }',
    to: '{ ▸kubernetes: { role: sts } }',
    code: 'config/missing-secret',
    mend: /mount/,
  },
  'a wrapping key without a name': {
    base: 'vault',
    from: 'key: rolemint-kek',
    to: 'key: ▸""',
    code: 'config/bad-value',
    mend: /1 to 64/,
  },
  'a signature that may take a minute': {
    base: 'transit',
    from: 'auth: { tokenFile',
    to: 'timeout: ▸60s, auth: { tokenFile',
    code: 'config/bad-value',
    mend: /50ms to 5s/,
  },
}

const FILES = {
  '/etc/r/kek': `${KEK}\n`,
  '/etc/r/cache-kek': '08'.repeat(32),
  '/etc/r/secret-id': 'secret-id',
  '/etc/r/token': 'vault-token',
  '/etc/r/empty': '\n',
  '/etc/r/ca.pem': '-----BEGIN CERTIFICATE-----',
}

/** The text of a row, with the caret. Throws when its text to break is not there, so that no row proves nothing. */
export function broken({ base, from, to }: UnsafeKeys): string {
  const text: string = SAFE[base]
  if (text.split(from).length !== 2) throw new Error(`not there exactly once: ${from}`)
  const marked = text.replace(from, () => to)
  // Where authentication is left out altogether.
  return to.includes('▸vault:\n') ? marked.replace(`      auth: ${APP_ROLE}\n`, '') : marked
}

/** What is wrong with a configuration of this file. */
export function problemsOfKeys(text: string): readonly Problem[] {
  const files = fakeConfigFiles({ ...FILES, '/etc/r/rolemint.yaml': text.replace('▸', '') })
  try {
    const env = { TOKEN: 'hunter2' }
    return loadConfig({ path: '/etc/r/rolemint.yaml', files, env }).warnings
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}
