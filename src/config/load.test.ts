import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fakeConfigFiles } from '../../test/fakes/config-files.ts'
import { environmentKeys } from './layers.ts'
import { type Loaded, type LoadOptions, loadConfig } from './load.ts'
import { ConfigError } from './problem.ts'
import { configShape } from './schema.ts'
import { listSettings } from './show.ts'

const MAIN = `version: 1
listen: { public: 127.0.0.1:8080, admin: 127.0.0.1:9090 }
keys: { store: { sealed: { kek: "\${env:KEK}" } } }
include: tenants/*.yaml
`
const ACME = `tenants:
  acme:
    issuer: https://sts.acme.example
    idps: { login: { issuer: https://login.acme.example, audience: rolemint } }
    roles: { unmapped: keep }
    clients:
      https://orders.acme.example/app.v2:
        auth: public
        idps: [login]
        audiences: [api]
        roles: [reader]
`
const BETA = ACME.replaceAll('acme', 'beta')
const KEK = Buffer.alloc(32, 7).toString('hex')

const FILES = {
  '/c/rolemint.yaml': MAIN,
  '/c/tenants/acme.yaml': ACME,
  '/c/tenants/beta.yaml': BETA,
  '/c/tenants/.copy.yaml': 'no YAML: [',
}

function load(
  more: Readonly<Record<string, string>> = {},
  options: Partial<LoadOptions> & { readonly modes?: Readonly<Record<string, number>> } = {},
): Loaded {
  const files = fakeConfigFiles({ ...FILES, ...more }, options.modes)
  return loadConfig({ path: '/c/rolemint.yaml', files, ...options, env: { KEK, ...options.env } })
}

function problemsOf(run: () => Loaded) {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.problems
  }
  return assert.fail('nothing was refused')
}

const including = (include: string) => MAIN.replace('tenants/*.yaml', include)

const devFiles = (issuer: string, listen = '127.0.0.1:8080') => ({
  '/c/rolemint.yaml': `version: 1\nprofile: dev\ninclude: tenants/acme.yaml\nlisten: { public: ${listen} }\nkeys: { store: { sealed: { kek: "\${env:KEK}" } } }\n`,
  '/c/tenants/acme.yaml': ACME.replace('https://login.acme.example', issuer),
})

const originOf = (loaded: Loaded, key: string) =>
  listSettings(loaded.settings).find((setting) => setting.key === key)?.origin

test('included files bring their tenants, and positions name them', () => {
  const { config, warnings } = load()

  assert.deepEqual([...config.tenants.keys()], ['acme', 'beta'])
  assert.equal(config.tenants.get('beta')?.at('issuer'), 'tenants/beta.yaml:3')
  const client = 'https://orders.acme.example/app.v2'
  assert.equal(config.tenants.get('acme')?.at(`clients.${client}.roles`), 'tenants/acme.yaml:11')
  assert.deepEqual(warnings, [])
})

test('a tenant in two files is refused, and both places are named', () => {
  const [first] = problemsOf(() => load({ '/c/tenants/copy.yaml': ACME }))

  assert.equal(first?.code, 'config/duplicate-key')
  assert.equal(first.origin, 'tenants/copy.yaml:2:3')
  assert.match(first.message, /tenants\/acme\.yaml:2:3/)
})

test('an included file that sets anything but tenants is refused', () => {
  const [first] = problemsOf(() => load({ '/c/tenants/acme.yaml': `listen: {}\n${ACME}` }))
  assert.deepEqual([first?.code, first?.origin], ['config/unknown-key', 'tenants/acme.yaml:1:1'])

  const [list] = problemsOf(() => load({ '/c/tenants/acme.yaml': 'tenants: [acme]\n' }))
  assert.deepEqual([list?.code, list?.origin], ['config/wrong-type', 'tenants/acme.yaml:1:1'])
})

test('of a file that is no YAML only that is said', () => {
  const problems = problemsOf(() =>
    load({ '/c/rolemint.yaml': `${MAIN}limts: {}\n`, '/c/tenants/acme.yaml': 'tenants: [' }),
  )

  assert.deepEqual(
    problems.map(({ code, file }) => [code, file]),
    [['config/syntax', 'tenants/acme.yaml']],
  )
})

test('an included file that is not there is refused, a pattern that matches nothing is a warning', () => {
  const [first] = problemsOf(() => load({ '/c/rolemint.yaml': including('no/such.yaml') }))
  assert.deepEqual([first?.code, first?.line, first?.column], ['config/missing-file', 4, 10])

  const { warnings } = load({ '/c/rolemint.yaml': including('[tenants/acme.yaml, tenants/*.yml]') })
  assert.deepEqual(
    warnings.map(({ code, column }) => [code, column]),
    [['config/missing-file', 30]],
  )
})

test('the main file that is not there is refused without a position', () => {
  const [first] = problemsOf(() => load({}, { path: '/c/no-such.yaml' }))

  assert.deepEqual([first?.code, first?.origin], ['config/missing-file', 'default'])
  assert.match(first?.message ?? '', /\/c\/no-such\.yaml.*ENOENT/)
})

test('flags beat the environment, the environment beats the file, the file beats defaults', () => {
  const env = { ROLEMINT_LISTEN_PUBLIC: '127.0.0.1:2', ROLEMINT_LISTEN_ADMIN: '127.0.0.1:3' }
  const loaded = load({}, { env, flags: new Map([['listen.admin', '127.0.0.1:4']]) })

  assert.equal(loaded.config.listen.public.port, 2)
  assert.equal(loaded.config.listen.admin.port, 4)
  assert.equal(originOf(loaded, 'listen.public'), 'env ROLEMINT_LISTEN_PUBLIC')
  assert.equal(originOf(loaded, 'listen.admin'), 'flag listen.admin')
  assert.equal(originOf(loaded, 'include'), 'rolemint.yaml:4:10')
  assert.equal(originOf(loaded, 'keys.algorithm'), 'default')
})

test('names of several words, lists and choices are set from the environment', () => {
  const env = {
    ROLEMINT_KEYS_ROTATE_EVERY: '7d',
    ROLEMINT_STORE_POSTGRES: 'postgres://db.example/rolemint',
    ROLEMINT_INCLUDE: 'tenants/acme.yaml,tenants/beta.yaml',
    ROLEMINT_LISTEN_PUBLIC_ADDRESS: '127.0.0.1:5',
    ROLEMINT_LISTEN_PUBLIC_TRUSTED_PROXIES: '10.0.0.0/8, 192.0.2.1',
  }
  const main = `${MAIN}store: { sqlite: ./x.db }\n`
  const loaded = load({ '/c/rolemint.yaml': main }, { env })

  assert.equal(originOf(loaded, 'keys.rotateEvery'), 'env ROLEMINT_KEYS_ROTATE_EVERY')
  assert.equal(loaded.config.store.kind, 'postgres')
  assert.equal(
    originOf(loaded, 'store.sqlite'),
    undefined,
    'the other branch of the choice is gone',
  )
  assert.deepEqual(loaded.config.listen.public.trustedProxies, ['10.0.0.0/8', '192.0.2.1'])
  assert.equal(loaded.config.tenants.size, 2)
})

test('a flag reaches into a tenant of an included file, also through a client id with dots', () => {
  const flags = new Map([
    ['tenants.acme.tokens.ttl', '1h'],
    ['tenants.acme.clients.https://orders.acme.example/app.v2.disabled', 'true'],
  ])
  const acme = load({}, { flags }).config.tenants.get('acme')

  assert.equal(acme?.rules.ttlSeconds, 3600)
  assert.equal(acme.clients.get('https://orders.acme.example/app.v2')?.disabled, true)
  assert.equal(acme.at('tokens.ttl'), 'flag tenants.acme.tokens.ttl')
})

test('an unknown ROLEMINT_ variable or flag is refused with what was meant', () => {
  const [variable] = problemsOf(() => load({}, { env: { ROLEMINT_LISTEN_PUBLC: 'x' } }))
  assert.deepEqual([variable?.code, variable?.line], ['config/unknown-key', undefined])
  assert.match(variable?.mend ?? '', /ROLEMINT_LISTEN_PUBLIC/)

  const [flag] = problemsOf(() => load({}, { flags: new Map([['listen.publc', 'x']]) }))
  assert.equal(flag?.code, 'config/unknown-key')
  assert.match(flag.mend ?? '', /listen\.public/)
})

test('reserved names and the variables of a Kubernetes Service called rolemint are left alone', () => {
  const env = Object.fromEntries(
    [
      'ROLEMINT_SERVER',
      'ROLEMINT_ADMIN_TOKEN',
      'ROLEMINT_REQUIRE',
      'ROLEMINT_CONFIG',
      'ROLEMINT_TEST_ANYTHING',
      'ROLEMINT_SERVICE_HOST',
      'ROLEMINT_SERVICE_PORT_HTTP',
      'ROLEMINT_PORT',
      'ROLEMINT_PORT_8080_TCP_ADDR',
      'ROLEMINT_ADMIN_SERVICE_HOST',
    ].map((name) => [name, 'x']),
  )
  assert.doesNotThrow(() => load({}, { env }))
})

test('every key has a variable of its own, none of them reserved or made by Kubernetes', () => {
  const keys = environmentKeys(configShape)
  const paths = new Set([...keys.values()].map(({ path }) => path.join('.')))

  assert.equal(paths.size, keys.size)
  assert.ok(keys.size > 20)
  for (const name of keys.keys()) {
    assert.doesNotMatch(
      name,
      /_(PORT|HOST)(_|$)|^ROLEMINT_(SERVER|REQUIRE|CONFIG|ADMIN_TOKEN|TEST_)/,
    )
  }
})

test('a secret given as a flag is refused, because every process can read it', () => {
  const flags = new Map([['keys.store.sealed.kek', KEK]])
  const [first] = problemsOf(() => load({}, { flags }))

  assert.equal(first?.code, 'config/literal-secret')
  assert.equal(JSON.stringify(first).includes(KEK), false)
})

test('relative paths start at the folder of the file that names them', () => {
  const source =
    'sources: { hr: { url: "https://hr.example/{user}", roles: r, auth: { bearer: "${file:hr}" } } }'
  const { config } = load({
    '/c/rolemint.yaml': MAIN.replace('${env:KEK}', '${file:secrets/kek}'),
    '/c/secrets/kek': `${KEK}\n`,
    '/c/tenants/acme.yaml': ACME.replace('    clients:', `    ${source}\n    clients:`),
    '/c/tenants/hr': 'from-the-folder-of-the-included-file\r\n',
  })

  assert.ok(config.keys.store?.kind === 'sealed')
  assert.equal(config.keys.store.kek.reveal(), KEK)
  assert.deepEqual(config.store, { kind: 'sqlite', path: '/c/data/rolemint.db' })
  const bearer = config.tenants.get('acme')?.sources[0]?.auth?.value
  assert.equal(bearer?.reveal(), 'Bearer from-the-folder-of-the-included-file')
})

test('TLS files of a listener start there too', () => {
  const tls = 'public: { address: 127.0.0.1:8080, tls: { cert: tls/cert.pem, key: /run/key.pem } }'
  const { config } = load({
    '/c/rolemint.yaml': MAIN.replace('public: 127.0.0.1:8080', tls),
    '/c/tls/cert.pem': '-----BEGIN CERTIFICATE-----',
    '/run/key.pem': '-----BEGIN PRIVATE KEY-----',
  })
  assert.deepEqual(config.listen.public.tls, { cert: '/c/tls/cert.pem', key: '/run/key.pem' })
})

test('a secret file that other accounts can read is a warning', () => {
  const files = {
    '/c/rolemint.yaml': MAIN.replace('${env:KEK}', '${file:/run/kek}'),
    '/run/kek': KEK,
  }
  const { warnings } = load(files, { modes: { '/run/kek': 0o100644 } })

  assert.deepEqual(
    warnings.map(({ code }) => code),
    ['config/secret-mode'],
  )
  assert.deepEqual(load(files, { modes: { '/run/kek': 0o100600 } }).warnings, [])
})

test('references may stand in any text, and show prints them as they are written', () => {
  const acme = ACME.replace('login.acme.example', '${env:HOST}')
  const text = acme.replace('issuer: https://${env:HOST}', 'issuer: "https://${env:HOST}"')
  const loaded = load({ '/c/tenants/acme.yaml': text }, { env: { HOST: 'idp.acme.example' } })

  assert.equal(
    loaded.config.tenants.get('acme')?.idps.get('login')?.issuer,
    'https://idp.acme.example',
  )
  const shown = listSettings(loaded.settings).find(({ key }) => key.endsWith('idps.login.issuer'))
  assert.equal(shown?.value, 'https://${env:HOST}')
})

test('profile dev takes http to loopback, and only that', () => {
  assert.deepEqual(load(devFiles('http://127.0.0.1:8090')).warnings, [])

  const [remote] = problemsOf(() => load(devFiles('http://login.acme.example')))
  assert.equal(remote?.code, 'config/insecure-url')
  const [open] = problemsOf(() => load(devFiles('"http://[::1]:8090"', '0.0.0.0:8080')))
  assert.equal(open?.code, 'config/listen')
})

test('a development configuration as rolemint up writes it loads', () => {
  const text = `version: 1
profile: dev
listen: { public: 127.0.0.1:8080, admin: 127.0.0.1:9090 }
store: { sqlite: ./rolemint.db }
keys: { store: { sealed: { kek: "\${file:./kek}" } }, publishAhead: 0s }
tenants:
  demo:
    issuer: http://127.0.0.1:8080
    idps:
      demo: { issuer: http://127.0.0.1:8091, audience: rolemint, user: upn, presenters: [any] }
    sources:
      demo:
        url: http://127.0.0.1:8092/users/{user}/roles
        auth: { bearer: "\${file:./source-token}" }
        roles: items[*].role
        nextPage: next
    roles: { unmapped: keep }
    clients:
      orders-web:
        auth: { clientSecret: { sha256: [47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU] } }
        idps: [demo]
        audiences: [https://api.demo.example]
        roles: [orders.read, orders.admin]
`
  const files = fakeConfigFiles({
    '/w/.rolemint/rolemint.yaml': text,
    '/w/.rolemint/kek': KEK,
    '/w/.rolemint/source-token': 'token',
  })
  const { config, warnings } = loadConfig({ path: '/w/.rolemint/rolemint.yaml', files, env: {} })

  assert.deepEqual(warnings, [])
  assert.deepEqual(config.store, { kind: 'sqlite', path: '/w/.rolemint/rolemint.db' })
  assert.equal(config.listen.probes, undefined)
})

test('naming the admin address for probes means sharing its port', () => {
  const main = MAIN.replace(
    'admin: 127.0.0.1:9090',
    'admin: 127.0.0.1:9090, probes: 127.0.0.1:9090',
  )
  assert.equal(load({ '/c/rolemint.yaml': main }).config.listen.probes, undefined)

  const [first] = problemsOf(() =>
    load({ '/c/rolemint.yaml': main.replace('probes: 127.0.0.1', 'probes: 0.0.0.0') }),
  )
  assert.equal(first?.code, 'config/listen')
})

test('a name like __proto__ is a name', () => {
  const { config } = load({
    '/c/tenants/acme.yaml': ACME.replace('https://orders.acme.example/app.v2', '__proto__'),
  })

  assert.equal(config.tenants.get('acme')?.clients.get('__proto__')?.id, '__proto__')
  assert.equal(({} as Record<string, unknown>)['auth'], undefined)
})

const codesBesideTtl = (from: string, to: string) => {
  const acme = ACME.replace('    clients:', '    tokens: { ttl: 13h }\n    clients:').replace(
    from,
    to,
  )
  return problemsOf(() => load({ '/c/tenants/acme.yaml': acme })).map(({ code }) => code)
}

test('a misspelt key silences other mistakes only where they may follow from it', () => {
  const misspelt = codesBesideTtl('audience: rolemint', 'audience: rolemint, algoritms: [RS256]')
  assert.deepEqual(misspelt, ['config/unknown-key', 'config/ttl-over-cap'])
  assert.deepEqual(codesBesideTtl('unmapped: keep', 'unmaped: keep'), ['config/unknown-key'])
})

test('root causes come first, warnings last', () => {
  const acme = ACME.replace('audience: rolemint', 'audiense: rolemint').replace(
    'roles: [reader]',
    'roles: []',
  )
  const beta = BETA.replace('issuer: https://sts', 'issuer: http://sts').replace('[reader]', '[]')
  const problems = problemsOf(() =>
    load({ '/c/tenants/acme.yaml': acme, '/c/tenants/beta.yaml': beta }),
  )

  assert.deepEqual(
    problems.map(({ code, severity }) => [severity, code]),
    [
      ['error', 'config/unknown-key'],
      ['error', 'config/insecure-url'],
      ['warning', 'config/no-roles-possible'],
    ],
  )
})
