import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fakeConfigFiles } from '../../test/fakes/config-files.ts'
import { loadConfig } from './load.ts'
import type { Problem, ProblemCode } from './problem.ts'
import { ConfigError } from './problem.ts'

const KEK = '07'.repeat(32)

const GOOD = `version: 1
listen:
  public: 127.0.0.1:8080
  admin: 127.0.0.1:9090
store: { sqlite: ./data/rolemint.db }
keys:
  store: { sealed: { kek: "\${file:kek}" } }
limits: { skew: 30s }
tenants:
  acme:
    issuer: https://sts.acme.example
    idps:
      login:
        issuer: https://login.acme.example
        audience: rolemint
    sources:
      hr:
        url: https://hr.acme.example/users/{user}/roles
        auth: { bearer: "\${env:HR_TOKEN}" }
        roles: items[*].role
    roles:
      map: [{ from: SAP_ORD_R, to: orders.read }]
    clients:
      orders-web:
        auth: { privateKeyJwt: { jwksUri: https://orders.acme.example/jwks } }
        idps: [login]
        audiences: [https://api.acme.example]
        roles: [orders.read]
    tokens: { ttl: 12h }
    cors: { origins: [] }
`

function problemsOf(text: string): readonly Problem[] {
  const files = fakeConfigFiles({
    '/etc/r/rolemint.yaml': text,
    '/etc/r/kek': `${KEK}\n`,
    '/etc/r/empty': '',
    '/etc/r/k.pem': '-----BEGIN PRIVATE KEY-----',
  })
  try {
    return loadConfig({
      path: '/etc/r/rolemint.yaml',
      files,
      env: {
        HR_TOKEN: 'hr',
        SHORT: 'x',
        LINES: 'x\r\nx-admin: 1',
        VALKEY: 'redis://cache.acme.example:6379/0',
        PG: 'postgres://rolemint@db.acme.example/rolemint',
      },
    }).warnings
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

/**
 * What to break: replace the first text by the second, in which `▸` stands where the caret belongs (line and
 * column come from it). The problem must be the first one reported; with `all`, nothing else may be an error.
 */
interface Break {
  readonly from: string
  readonly to: string
  readonly code: ProblemCode
  readonly mend?: RegExp
  readonly severity?: 'warning'
}

const IDP = '        audience: rolemint\n'
const TWO_IDPS = (first: string, second: string, tail = '') =>
  `        audience: rolemint\n        upnDomains: [acme.example]\n${first}      ${tail}partner:\n        issuer: https://login.partner.example\n        audience: rolemint\n        upnDomains: [partner.example]\n${second}`
const SECOND_TENANT = (issuer: string, idpIssuer: string, audience: string) =>
  `    cors: { origins: [] }\n  beta:\n    issuer: ${issuer}\n    idps:\n      other: { issuer: ${idpIssuer}, audience: ${audience} }\n    clients: {}\n`
const CORS = '    cors: { origins: [] }\n'

const BREAKS: Readonly<Record<string, Break>> = {
  // Syntax
  'an unclosed quote': {
    from: 'audience: rolemint',
    to: 'audience: "rolemint',
    code: 'config/syntax',
  },
  'an unclosed bracket': {
    from: 'idps: [login]',
    to: 'idps: [login\n        ▸audiences: x',
    code: 'config/syntax',
  },
  'a tab as indentation': {
    from: '  public:',
    to: '▸\tpublic:',
    code: 'config/syntax',
    mend: /spaces/,
  },
  'a second colon': {
    from: 'audience: rolemint',
    to: 'audience: ▸role: mint',
    code: 'config/syntax',
  },
  'a reserved sign': {
    from: 'audience: rolemint',
    to: 'audience: ▸@rolemint',
    code: 'config/syntax',
    mend: /quotes/,
  },
  'an anchor': { from: 'audience: rolemint', to: 'audience: &a ▸rolemint', code: 'config/syntax' },
  'an alias': { from: 'audience: rolemint', to: 'audience: ▸*a', code: 'config/syntax' },
  'a tag': { from: 'audience: rolemint', to: 'audience: !!str ▸rolemint', code: 'config/syntax' },
  'a merge key': { from: IDP, to: `${IDP}        ▸<<: { user: upn }\n`, code: 'config/syntax' },
  'a directive': { from: 'version: 1', to: '▸%YAML 1.1\n---\nversion: 1', code: 'config/syntax' },
  'a second document': { from: 'store:', to: '▸---\nstore:', code: 'config/syntax' },
  'a key that is a list': {
    from: IDP,
    to: `${IDP}        ? ▸[a]\n        : b\n`,
    code: 'config/syntax',
  },
  // Shape
  'a key twice': {
    from: IDP,
    to: `${IDP}        ▸audience: again\n`,
    code: 'config/duplicate-key',
  },
  'a misspelt key': {
    from: IDP,
    to: `${IDP}        ▸algoritms: [RS256]\n`,
    code: 'config/unknown-key',
    mend: /"algorithms"/,
  },
  'a misspelt required key': {
    from: 'audience: rolemint',
    to: '▸audiense: rolemint',
    code: 'config/unknown-key',
    mend: /"audience"/,
  },
  'a key of another spelling': {
    from: 'jwksUri',
    to: '▸jwks_uri',
    code: 'config/unknown-key',
    mend: /"jwksUri"/,
  },
  'an unknown top-level key': {
    from: 'limits:',
    to: '▸telemetry: {}\nlimits:',
    code: 'config/unknown-key',
    mend: /known here/,
  },
  'a key without space after the colon': {
    from: '{ bearer: "${env:HR_TOKEN}" }',
    to: '{ ▸bearer:s3cr3t-canary }',
    code: 'config/unknown-key',
    mend: /space/,
  },
  'text for a whole number': {
    from: 'roles:\n      map',
    to: 'roles:\n      max: ▸many\n      map',
    code: 'config/wrong-type',
  },
  'a number for text': {
    from: 'audience: rolemint',
    to: 'audience: ▸42',
    code: 'config/wrong-type',
  },
  'a group for a list': {
    from: 'idps: [login]',
    to: '▸idps: { login: x }',
    code: 'config/wrong-type',
  },
  'text for a group': {
    from: 'limits: { skew: 30s }',
    to: 'limits: ▸none',
    code: 'config/wrong-type',
  },
  'nothing where a group belongs': {
    from: 'store: { sqlite: ./data/rolemint.db }',
    to: '▸store:',
    code: 'config/wrong-type',
  },
  'text for yes or no': {
    from: IDP,
    to: `${IDP}        onceOnly: ▸"yes"\n`,
    code: 'config/wrong-type',
  },
  'two stores': {
    from: 'rolemint.db }',
    to: 'rolemint.db, ▸postgres: "${env:HR_TOKEN}" }',
    code: 'config/conflict',
  },
  'two ways to authenticate': {
    from: '{ privateKeyJwt: ',
    to: '{ clientSecret: { sha256: ["47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"] }, ▸privateKeyJwt: ',
    code: 'config/conflict',
  },
  'jwks and jwksUri': {
    from: IDP,
    to: `${IDP}        jwks: { keys: [{ kty: OKP }] }\n        jwksUri: ▸https://login.acme.example/jwks\n`,
    code: 'config/conflict',
  },
  'no way to authenticate': {
    from: '{ privateKeyJwt: { jwksUri: https://orders.acme.example/jwks } }',
    to: '{}',
    code: 'config/missing-key',
  },
  'a missing version': {
    from: 'version: 1\n',
    to: '▸',
    code: 'config/missing-key',
    mend: /version/,
  },
  'a missing audience': {
    from: '      login:\n        issuer: https://login.acme.example\n        audience: rolemint\n',
    to: '      ▸login:\n        issuer: https://login.acme.example\n',
    code: 'config/missing-key',
  },
  'a version we do not know': { from: 'version: 1', to: 'version: ▸2', code: 'config/bad-value' },
  'a duration without unit': {
    from: 'skew: 30s',
    to: 'skew: ▸"30"',
    code: 'config/bad-value',
    mend: /duration/,
  },
  'an unknown word': {
    from: '      map:',
    to: '      unmapped: ▸dorp\n      map:',
    code: 'config/bad-value',
    mend: /"drop"/,
  },
  'a number out of bounds': {
    from: '      map:',
    to: '      max: ▸0\n      map:',
    code: 'config/bad-value',
  },
  'an element twice': {
    from: 'idps: [login]',
    to: 'idps: [login, ▸login]',
    code: 'config/bad-value',
  },
  'a client id with a space': {
    from: '      orders-web:',
    to: '      ▸"orders web":',
    code: 'config/bad-value',
  },
  'an invisible sign': {
    from: 'audience: rolemint',
    to: 'audience: ▸"role\\u200Bmint"',
    code: 'config/bad-value',
  },
  'a reference of no known kind': {
    from: 'audience: rolemint',
    to: 'audience: ▸"${HOME}"',
    code: 'config/bad-value',
  },
  'an empty list of audiences': {
    from: 'audience: rolemint',
    to: '▸audience: []',
    code: 'config/bad-value',
  },
  'an inline JWK set without keys': {
    from: IDP,
    to: `${IDP}        ▸jwks: { keys: [] }\n`,
    code: 'config/bad-value',
  },
  // Secrets
  'a literal secret': {
    from: '"${env:HR_TOKEN}"',
    to: '▸s3cr3t-canary',
    code: 'config/literal-secret',
  },
  'a literal around a reference': {
    from: '"${env:HR_TOKEN}"',
    to: '▸"x${env:HR_TOKEN}"',
    code: 'config/literal-secret',
  },
  'a password in a URL': {
    from: 'https://hr.acme',
    to: '▸https://me:s3cr3t-canary@hr.acme',
    code: 'config/literal-secret',
  },
  'a private key among public ones': {
    from: IDP,
    to: `${IDP}        ▸jwks: { keys: [{ kty: EC, d: s3cr3t-canary }] }\n`,
    code: 'config/literal-secret',
  },
  'a secret of Vault': {
    from: '"${env:HR_TOKEN}"',
    to: '▸"${vault:kv/hr#token}"',
    code: 'config/not-available',
  },
  'a missing environment variable': {
    from: '"${env:HR_TOKEN}"',
    to: '▸"${env:NO_SUCH}"',
    code: 'config/missing-secret',
    mend: /NO_SUCH/,
  },
  'a missing file': {
    from: '"${file:kek}"',
    to: '▸"${file:no-such}"',
    code: 'config/missing-secret',
    mend: /\/etc\/r/,
  },
  'an empty file': { from: '"${file:kek}"', to: '▸"${file:empty}"', code: 'config/missing-secret' },
  'a short key-encryption key': {
    from: '"${file:kek}"',
    to: '▸"${env:SHORT}"',
    code: 'config/kek-form',
    mend: /openssl rand/,
  },
  'no key store in production': {
    from: '  store: { sealed: { kek: "${file:kek}" } }',
    to: '  algorithm: ES256',
    code: 'config/kek-missing',
  },
  'something else than a Postgres URL': {
    from: '{ sqlite: ./data/rolemint.db }',
    to: '{ postgres: ▸"${env:SHORT}" }',
    code: 'config/secret-kind',
  },
  // What stands in when something fails
  'a policy of serving old roles that keeps none': {
    from: '        roles: items',
    to: '        onFailure: ▸stale\n        roles: items',
    code: 'config/failure-policy',
    mend: /staleIfError: 15m/,
  },
  'limited roles that are not listed': {
    from: '        roles: items',
    to: '        onFailure: ▸limited\n        roles: items',
    code: 'config/failure-policy',
    mend: /limited: \{ roles/,
  },
  'listed roles that no policy grants': {
    from: '        roles: items',
    to: '        ▸limited: { roles: [SAP_ORD_R] }\n        roles: items',
    code: 'config/failure-policy',
    severity: 'warning',
  },
  'a batch endpoint at another origin, where the credential would go': {
    from: '        roles: items',
    to: '        batch: { url: ▸https://other.acme.example/roles }\n        roles: items',
    code: 'config/bad-value',
    mend: /one origin/,
  },
  'a webhook secret that can be guessed': {
    from: '        roles: items',
    to: '        webhook: { secret: ▸"${env:SHORT}" }\n        roles: items',
    code: 'config/secret-kind',
    mend: /whsec_/,
  },
  'a cache that is at no redis URL': {
    from: 'limits:',
    to: 'cache: { valkey: ▸"${env:HR_TOKEN}" }\nlimits:',
    code: 'config/secret-kind',
    mend: /redis:\/\//,
  },
  'a seal that can be guessed': {
    from: 'limits:',
    to: 'cache: { valkey: "${env:VALKEY}", seal: ▸"${env:SHORT}" }\nlimits:',
    code: 'config/secret-kind',
    mend: /32 random bytes/,
  },
  'a limit that each replica would count for itself': {
    from: `store: { sqlite: ./data/rolemint.db }
keys:
  store: { sealed: { kek: "\${file:kek}" } }
limits: { skew: 30s }`,
    to: `store: { postgres: "\${env:PG}" }
keys:
  store: { sealed: { kek: "\${file:kek}" } }
limits: { skew: 30s, perClient: ▸10/s }`,
    code: 'config/per-process',
    mend: /perProcess: true/,
  },
  'a network that is none': {
    from: 'limits:',
    to: 'outbound: { allow: [▸10.0.0.0/33] }\nlimits:',
    code: 'config/bad-value',
    mend: /10\.0\.0\.0\/8/,
  },
  'a network that is every address there is': {
    from: 'limits:',
    to: 'outbound: { allow: [▸0.0.0.0/0] }\nlimits:',
    code: 'config/bad-value',
    mend: /name the networks/,
  },
  // Not yet
  'mutual TLS of a client': {
    from: '{ privateKeyJwt: { jwksUri: https://orders.acme.example/jwks } }',
    to: '{ ▸mtls: {} }',
    code: 'config/not-available',
    mend: /privateKeyJwt/,
  },
  'grants of a later version': {
    from: 'idps: [login]',
    to: 'idps: [login]\n        grants: [exchange, ▸refresh]',
    code: 'config/not-available',
    severity: 'warning',
  },
  // Meaning
  'a life over the cap': { from: 'ttl: 12h', to: 'ttl: ▸13h', code: 'config/ttl-over-cap' },
  'no life at all': { from: 'ttl: 12h', to: 'ttl: ▸0s', code: 'config/bad-value' },
  'a skew over a minute': { from: 'skew: 30s', to: 'skew: ▸61s', code: 'config/skew' },
  'a symmetric algorithm': {
    from: IDP,
    to: `${IDP}        algorithms: [ES256, ▸HS256]\n`,
    code: 'config/algorithm',
    mend: /ES256/,
  },
  'no signature at all': {
    from: IDP,
    to: `${IDP}        algorithms: [▸none]\n`,
    code: 'config/algorithm',
  },
  'http to an IdP': {
    from: 'issuer: https://login',
    to: 'issuer: ▸http://login',
    code: 'config/insecure-url',
  },
  'http to loopback in production': {
    from: 'https://hr.acme.example',
    to: '▸http://127.0.0.1:9',
    code: 'config/insecure-url',
  },
  'a slash at the end of our issuer': {
    from: 'https://sts.acme.example',
    to: '▸https://sts.acme.example/',
    code: 'config/issuer-form',
  },
  'a slash at the end of a path in our issuer': {
    from: 'https://sts.acme.example',
    to: '▸https://sts.acme.example/acme/',
    code: 'config/issuer-form',
  },
  'a secret that would break out of its header': {
    from: '"${env:HR_TOKEN}"',
    to: '▸"${env:LINES}"',
    code: 'config/secret-kind',
  },
  'a source with another placeholder': {
    from: '/users/{user}/roles',
    to: '/users/{user}/{role}',
    code: 'config/bad-value',
    mend: /braces/,
  },
  'a scope with a space': {
    from: 'idps: [login]',
    to: 'idps: [login]\n        scopes: [▸"a b"]',
    code: 'config/bad-value',
  },
  'a query in our issuer': {
    from: 'https://sts.acme.example',
    to: '▸https://sts.acme.example?a',
    code: 'config/issuer-form',
  },
  'capitals in our issuer': {
    from: 'https://sts.acme.example',
    to: '▸https://STS.acme.example',
    code: 'config/issuer-form',
    mend: /https:\/\/sts/,
  },
  'one issuer for two tenants': {
    from: CORS,
    to: SECOND_TENANT('▸https://sts.acme.example', 'https://i.example', 'x'),
    code: 'config/issuer-form',
  },
  'ourselves as IdP': {
    from: 'issuer: https://login.acme.example',
    to: 'issuer: ▸https://sts.acme.example',
    code: 'config/issuer-form',
  },
  'two tenants that accept one token': {
    from: CORS,
    to: SECOND_TENANT('https://sts.beta.example', 'https://login.acme.example', '▸rolemint'),
    code: 'config/idp-conflict',
  },
  'two IdP entries of one issuer': {
    from: IDP,
    to: TWO_IDPS('', '', '')
      .replace('https://login.partner', '▸https://login.acme')
      .replace(
        '▸https://login.acme.example\n        audience: rolemint',
        '▸https://login.acme.example\n        audience: other\n        subjectPrefix: "p:"',
      ),
    code: 'config/idp-conflict',
  },
  'two IdPs without subjectPrefix': {
    from: IDP,
    to: TWO_IDPS('', '', '▸'),
    code: 'config/subject-prefix',
    mend: /partner:/,
  },
  'a subjectPrefix that begins like another': {
    from: IDP,
    to: TWO_IDPS('        subjectPrefix: "a"\n', '        subjectPrefix: ▸"ab"\n'),
    code: 'config/subject-prefix',
  },
  'two IdPs, one without upnDomains': {
    from: IDP,
    to: TWO_IDPS('', '        subjectPrefix: "p:"\n', '▸').replace(
      '        upnDomains: [partner.example]\n',
      '',
    ),
    code: 'config/upn-domains',
  },
  'a UPN domain with an at sign': {
    from: IDP,
    to: `${IDP}        upnDomains: [▸"@acme.example"]\n`,
    code: 'config/bad-value',
  },
  'any presenter and another': {
    from: IDP,
    to: `${IDP}        ▸presenters: [any, portal]\n`,
    code: 'config/bad-value',
  },
  'a client of an unknown IdP': {
    from: 'idps: [login]',
    to: 'idps: [▸logon]',
    code: 'config/dangling',
    mend: /"login"/,
  },
  'a source of an unknown IdP': {
    from: '        roles: items',
    to: '        idps: [▸nobody]\n        roles: items',
    code: 'config/dangling',
  },
  'a source that is not asked about the user': {
    from: '/users/{user}/roles',
    to: '/roles',
    code: 'config/bad-value',
  },
  'a source whose host is the user': {
    from: 'https://hr.acme.example/users',
    to: '▸https://{user}.example/users',
    code: 'config/bad-value',
  },
  'a ceiling that nothing reaches': {
    from: '      map: [{ from: SAP_ORD_R, to: orders.read }]',
    to: '      empty: deny',
    code: 'config/no-roles-possible',
  },
  'a role that no mapping produces': {
    from: 'roles: [orders.read]',
    to: 'roles: [orders.read, ▸orders.admin]',
    code: 'config/ceiling-unreachable',
    severity: 'warning',
  },
  'a client without audiences': {
    from: '      orders-web:',
    to: '      ▸orders-web:',
    code: 'config/no-target',
    severity: 'warning',
  },
  'a public client that may introspect': {
    from: 'auth: { privateKeyJwt: { jwksUri: https://orders.acme.example/jwks } }',
    to: 'auth: public\n        grants: [exchange, ▸introspect]\n        resourceFor: [x]',
    code: 'config/public-client',
  },
  'one address for two listeners': {
    from: 'admin: 127.0.0.1:9090',
    to: 'admin: ▸127.0.0.1:8080',
    code: 'config/listen',
  },
  'one port on all addresses': {
    from: 'admin: 127.0.0.1:9090',
    to: 'admin: ▸0.0.0.0:8080',
    code: 'config/listen',
  },
  'a port that does not exist': {
    from: 'admin: 127.0.0.1:9090',
    to: 'admin: ▸127.0.0.1:90900',
    code: 'config/bad-value',
  },
  'TLS files that are not there': {
    from: 'public: 127.0.0.1:8080',
    to: 'public: { address: 127.0.0.1:8080, tls: { cert: ▸c.pem, key: k.pem } }',
    code: 'config/missing-file',
  },
  'a proxy that is no network': {
    from: 'public: 127.0.0.1:8080',
    to: 'public: { address: 127.0.0.1:8080, trustedProxies: [10.0.0.0/8, ▸10.0.0.0/33] }',
    code: 'config/bad-value',
  },
  'any origin': { from: 'origins: []', to: 'origins: [▸"*"]', code: 'config/bad-value' },
  'an origin with a path': {
    from: 'origins: []',
    to: 'origins: [▸https://app.example/]',
    code: 'config/bad-value',
  },
}

test('the configuration that is broken below is good', () => {
  assert.deepEqual(problemsOf(GOOD), [])
})

for (const [name, { from, to, code, mend, severity = 'error' }] of Object.entries(BREAKS)) {
  test(`${name} gives ${code} at its line and column`, () => {
    assert.equal(GOOD.split(from).length >= 2, true, 'the text to break is there')
    let marked = GOOD.replace(from, () => to)
    if (name === 'a client without audiences')
      marked = marked.replace('        audiences: [https://api.acme.example]\n', '')
    const [before = ''] = marked.split('▸')
    const [first, ...others] = problemsOf(marked.replace('▸', ''))

    assert.equal(first?.code, code, JSON.stringify(first))
    assert.equal(first.severity, severity)
    if (marked.includes('▸')) {
      const lines = before.split('\n')
      assert.deepEqual([first.line, first.column], [lines.length, (lines.at(-1)?.length ?? 0) + 1])
    }
    assert.equal(first.file, 'rolemint.yaml')
    assert.ok(first.mend)
    if (mend) assert.match(first.mend, mend)
    assert.deepEqual(
      others
        .filter((other) => other.severity === 'error')
        .map((other) => `${other.code} ${other.path}`),
      [],
      'one mistake is one error',
    )
  })
}
