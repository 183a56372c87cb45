import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import Value from 'typebox/value'
import { fakeConfigFiles } from '../../test/fakes/config-files.ts'
import { loadConfig } from './load.ts'
import { ConfigError } from './problem.ts'
import { renderProblems } from './render.ts'
import { configSchema } from './schema.ts'
import { listSettings } from './show.ts'

const CANARY = 'hunter2-Zq9xCanary'

const TEXT = `version: 1
# commented out: bearer: ${CANARY}
listen: { public: 127.0.0.1:8080, admin: 127.0.0.1:9090 }
store: { sqlite: ./data/rolemint.db }
keys: { store: { sealed: { kek: "\${file:/kek}" } } }
limits: { perClient: 50/s, skew: 30s }
tenants:
  acme:
    issuer: https://sts.acme.example
    idps:
      login:
        issuer: https://login.acme.example
        audience: [rolemint]
        algorithms: [RS256, ES256]
        onceOnly: false
    sources:
      hr:
        url: https://hr.acme.example/users/{user}/roles
        auth: { bearer: "\${env:HR_TOKEN}" } # was ${CANARY}
        roles: items[*].role
    roles: { map: [{ from: SAP_ORD_R, to: orders.read }], max: 200 }
    clients:
      orders-web:
        auth: { privateKeyJwt: { jwksUri: https://orders.acme.example/jwks } }
        idps: [login]
        audiences: [https://api.acme.example]
        roles: [orders.read]
      shop:
        auth: { clientSecret: { sha256: [47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU] } }
        idps: [login]
        audiences: [https://api.acme.example]
        roles: [orders.read]
`

/** Everything that loading a text lets anybody see; throws what `loadConfig` throws besides ConfigError. */
function everythingShown(text: string): string {
  const files = fakeConfigFiles({ '/c/rolemint.yaml': text, '/kek': '07'.repeat(32) })
  try {
    const loaded = loadConfig({ path: '/c/rolemint.yaml', files, env: { HR_TOKEN: CANARY } })
    const shown = listSettings(loaded.settings)
    return (
      JSON.stringify(shown) + renderProblems(loaded.warnings) + inspect(loaded.config, { depth: 9 })
    )
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message + JSON.stringify(error.problems) + renderProblems(error.problems)
  }
}

/** Mistakes people make around secrets: the canary is the secret. */
const LEAKS: Readonly<Record<string, readonly [from: string, to: string]>> = {
  'written out': ['"${env:HR_TOKEN}"', CANARY],
  'written out in quotes, with a comment': ['"${env:HR_TOKEN}"', `"${CANARY}" # ${CANARY}`],
  'beside another mistake on its line': [
    '{ bearer: "${env:HR_TOKEN}" }',
    `{ bearer: ${CANARY}, baerer: x }`,
  ],
  'under a misspelt key': ['bearer: "${env:HR_TOKEN}"', `baerer: ${CANARY}`],
  'without the key above it': ['{ bearer: "${env:HR_TOKEN}" }', CANARY],
  'in a list': ['"${env:HR_TOKEN}"', `[${CANARY}]`],
  'as a key': ['"${env:HR_TOKEN}"', `{ ${CANARY} }`],
  'as a key of the group above': ['{ bearer: "${env:HR_TOKEN}" }', `{ ${CANARY} }`],
  'without the space after the colon': ['{ bearer: "${env:HR_TOKEN}" }', `{ bearer:${CANARY} }`],
  'in a quote that never ends': ['"${env:HR_TOKEN}"', `"${CANARY}`],
  'over two lines': ['"${env:HR_TOKEN}"', `"${CANARY}\n          ${CANARY}"`],
  'in a block of text': [
    'auth: { bearer: "${env:HR_TOKEN}" }',
    `auth:\n          bearer: |\n            ${CANARY}\n            ${CANARY}`,
  ],
  'behind an anchor': ['"${env:HR_TOKEN}"', `&a ${CANARY}`],
  'behind a tag': ['"${env:HR_TOKEN}"', `!!str ${CANARY}`],
  'as an alias': ['"${env:HR_TOKEN}"', `*${CANARY}`],
  'as a tag': ['"${env:HR_TOKEN}"', `!${CANARY} x`],
  'instead of its hash': ['47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU', CANARY],
  'in a URL': ['https://hr.acme', `https://user:${CANARY}@hr.acme`],
  'in a URL of another kind': ['https://hr.acme', `postgres://user:${CANARY}@hr.acme`],
  'in a private JWK': [
    '{ jwksUri: https://orders.acme.example/jwks }',
    `{ jwks: { keys: [{ kty: EC, d: ${CANARY} }] } }`,
  ],
  'as a number is expected': ['max: 200', `max: ${CANARY}`],
  'in the credentials of Vault': [
    '{ sealed: { kek: "${file:/kek}" } }',
    `{ vault: { addr: https://v.example, auth: { token: ${CANARY} } } }`,
  ],
  'where the file with it belongs': [
    '{ sealed: { kek: "${file:/kek}" } }',
    `{ vault: { addr: https://v.example, auth: { tokenFile: ${CANARY} } } }`,
  ],
  twice: ['{ bearer: "${env:HR_TOKEN}" }', `{ bearer: ${CANARY}, bearer: ${CANARY} }`],
  'as a directive': ['version: 1', `%${CANARY}\n---\nversion: 1`],
  'from a reference in the wrong key': ['skew: 30s', 'skew: "${env:HR_TOKEN}"'],
  'from a reference in a key of words': ['[RS256, ES256]', '["${env:HR_TOKEN}"]'],
}

test('the text that is broken below is good, and its comments and secrets are not shown', () => {
  const shown = everythingShown(TEXT)

  assert.match(shown, /orders\.read/)
  assert.equal(shown.includes(CANARY), false)
})

for (const [name, [from, to]] of Object.entries(LEAKS)) {
  test(`a secret ${name} is not repeated in any message`, () => {
    assert.ok(TEXT.includes(from))
    const shown = everythingShown(TEXT.replace(from, () => to))

    assert.match(shown, /config\/[a-z-]+/, 'it is refused')
    assert.equal(shown.includes(CANARY), false, shown)
  })
}

test('a short secret glued to its key is not taken for a misspelt key', () => {
  const shown = everythingShown(TEXT.replace('{ bearer: "${env:HR_TOKEN}" }', '{ bearer:ab }'))
  assert.match(shown, /put a space after/)
  assert.equal(shown.includes('bearer:ab'), false)
})

test('a chosen secret that has the form of a hash is not shown either', () => {
  const secret = 'x'.repeat(43)
  const shown = everythingShown(TEXT.replace('47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU', secret))
  assert.equal(shown.includes(secret), false)
})

test('wherever a secret is dropped into the file, it is not repeated as a secret of a source', () => {
  const at = TEXT.indexOf('"${env:HR_TOKEN}"')
  const literal = TEXT.replace('"${env:HR_TOKEN}"', CANARY)
  const noise = fc.constantFrom(
    '"',
    "'",
    ':',
    ': ',
    '{',
    '}',
    '[',
    ']',
    ',',
    '#',
    '\n',
    '\t',
    '- ',
    '&',
    '*',
    '!',
    '|',
    '%',
    '---\n',
    'x',
  )
  // Damage anywhere but inside the secret itself, which would then be another text.
  const place = fc
    .nat({ max: literal.length })
    .filter((offset) => offset <= at || offset >= at + CANARY.length)
  fc.assert(
    fc.property(place, noise, (offset, sign) => {
      const shown = everythingShown(literal.slice(0, offset) + sign + literal.slice(offset))
      assert.equal(shown.includes(CANARY), false)
    }),
    { numRuns: 200 },
  )
})

test('whatever the file holds, loading it gives a configuration or a ConfigError', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      'a: &x [*x]\n',
      '<<: *x',
      '? ',
      '{',
      '[',
      '"',
      '\0',
      '\uFEFF',
      '%YAML 1.1\n',
      '!!int x',
      '${',
      '${file:',
      '1e999',
      '-.inf',
      '0x',
      '__proto__: {}\n',
      '~',
      '\r',
      '\ud800',
    ),
    fc.string({ maxLength: 12, unit: 'binary' }),
    fc
      .tuple(fc.nat(TEXT.length), fc.nat(40))
      .map(([from, length]) => TEXT.slice(from, from + length)),
  )
  const edit = fc.record({ at: fc.nat(TEXT.length), cut: fc.nat(30), put: piece })
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      let text = TEXT
      for (const { at, cut, put } of edits) text = text.slice(0, at) + put + text.slice(at + cut)
      everythingShown(text)
    }),
    { numRuns: 200 },
  )
})

test('deep nesting and a bomb of aliases are refused at once', () => {
  const bomb = Array.from(
    { length: 20 },
    (_, level) => `a${level}: &a${level} [${`*a${level - 1},`.repeat(level && 9)}]`,
  )
  for (const text of [
    '['.repeat(5000),
    `a: ${'{a: '.repeat(500)}${'}'.repeat(500)}`,
    bomb.join('\n'),
  ])
    assert.match(everythingShown(text), /config\/syntax/)
})

test('what our checker accepts, TypeBox accepts', () => {
  const files = fakeConfigFiles({ '/c/rolemint.yaml': TEXT, '/kek': '07'.repeat(32) })
  const { settings } = loadConfig({ path: '/c/rolemint.yaml', files, env: { HR_TOKEN: 'hr' } })
  // Secrets stand as references there; everything else as its value.
  const plain = unfoldHashed(settings.map(({ path, hashed }) => ({ path, hashed })))

  assert.deepEqual([...Value.Errors(configSchema, plain)], [])
})

function unfoldHashed(
  all: readonly { path: readonly (string | number)[]; hashed: unknown }[],
): unknown {
  const root: Record<string | number, unknown> = {}
  for (const { path, hashed } of all) {
    let node = root
    for (const [index, step] of path.entries()) {
      if (index === path.length - 1) node[step] = hashed
      else {
        node[step] ??= typeof path[index + 1] === 'number' ? [] : {}
        node = node[step] as Record<string | number, unknown>
      }
    }
  }
  return root
}
