/** After a run in which everything happens once, no secret is anywhere but where it belongs. */
import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { inspect } from 'node:util'
import { mint, type TestKey } from '../fakes/jwt.ts'
import {
  type Answer,
  ask,
  at,
  CLIENT,
  EXCHANGE,
  encode,
  ISSUER,
  JWT_TYPE,
  type Sts,
  startSts,
} from '../fakes/sts.ts'

/** Any run of a secret this long counts as the secret. */
const WINDOW = 24
const BATCH = 'orders-batch'

interface World {
  readonly sts: Sts
  readonly assertionKey: TestKey
  /** Name and value of everything that must not be found. */
  readonly secrets: Map<string, string>
  /** Bodies of answers that are not meant to carry a token. */
  readonly answers: string[]
}

function makeAssertionKey(): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const publicJwk = {
    ...publicKey.export({ format: 'jwk' }),
    kid: 'batch-1',
    alg: 'ES256',
    use: 'sig',
  }
  return { kid: 'batch-1', alg: 'ES256', privateKey, publicJwk }
}

const json = (body: object) => ({
  body: JSON.stringify(body),
  headers: { 'content-type': 'application/json' },
})

/** One of everything: successes, refusals of every kind, operators, a rotation, an outage and a bug. */
async function run(world: World): Promise<void> {
  const { sts, assertionKey, secrets, answers } = world
  let serial = 0
  const keep = (name: string, value: string): string => {
    secrets.set(`${name} ${(serial += 1)}`, value)
    return value
  }
  const say = (answer: Answer): Answer => {
    const { access_token: token } = answer.body
    if (typeof token === 'string') keep('issued token', token)
    else answers.push(answer.text)
    return answer
  }
  const subject = (claims = {}, over = {}) => keep('subject token', sts.subjectToken(claims, over))
  const form = (over = {}) => ({
    grant_type: EXCHANGE,
    subject_token: subject(),
    subject_token_type: JWT_TYPE,
    ...over,
  })
  const assertion = () => {
    const now = Math.floor(Date.now() / 1000)
    const payload = {
      iss: BATCH,
      sub: BATCH,
      aud: ISSUER,
      iat: now,
      exp: now + 60,
      jti: randomBytes(16).toString('hex'),
    }
    return {
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: keep('assertion', mint({ key: assertionKey, payload })),
    }
  }
  const post = async (path: string, init: RequestInit) =>
    say(await ask(`${sts.url}${path}`, { method: 'POST', ...init }))

  const issued = String(say(await sts.token(form())).body['access_token'])
  assert.equal(issued.split('.').length, 3)
  const byKey = { ...form(), ...assertion() }
  assert.equal((await post('/token', { body: encode(byKey) })).status, 200)
  assert.equal((await post('/token', { body: encode(byKey) })).status, 401)
  await post(
    '/v1/token/exchange',
    json({ subject_token: subject(), client_id: CLIENT, client_secret: sts.clientSecret }),
  )
  say(await sts.token(form({ actor_token: subject({ sub: 'bot' }), actor_token_type: JWT_TYPE })))
  say(await sts.token(form({ subject_token: issued })))
  answers.push((await sts.introspect(subject())).text)

  const now = Math.floor(Date.now() / 1000)
  for (const claims of [
    { exp: now - 1000 },
    { aud: 'x' },
    { iss: 'https://evil.example' },
    { azp: 'x' },
    { upn: 'x' },
    { cnf: {} },
    { sub: '' },
  ]) {
    say(await sts.token(form({ subject_token: subject(claims) })))
  }
  for (const header of [
    { alg: 'none' },
    { alg: 'HS256' },
    { jku: 'https://evil.example' },
    { crit: ['x'] },
    { kid: 'other' },
    { typ: 'logout+jwt' },
  ]) {
    say(await sts.token(form({ subject_token: subject({}, { header }) })))
  }
  say(await sts.token(form({ subject_token: keep('malformed token', `${subject()}=.x`) })))
  say(await sts.token({ ...form(), subject_token: [subject(), subject()] }))
  say(await sts.token(form({ audience: 'https://evil.example' })))
  answers.push((await ask(`${sts.url}/token?subject_token=${subject()}`, { method: 'POST' })).text)
  answers.push((await ask(`${sts.url}/token?client_secret=${sts.clientSecret}`)).text)
  await post('/token', { body: 'x'.repeat(70_000) })
  await post('/token', {
    body: encode({
      ...form(),
      client_id: CLIENT,
      client_secret: keep('wrong secret', `rms_${randomBytes(32).toString('base64url')}`),
    }),
  })
  await post('/token', json(form()))

  for (const path of [
    '/status',
    '/keys?tenant=acme',
    '/clients',
    '/idps',
    '/sources',
    '/config',
    '/audit/entries?tenant=acme&limit=50',
  ]) {
    answers.push((await sts.admin('GET', path)).text)
  }
  answers.push((await sts.admin('POST', '/keys/rotate', { tenant: 'acme', reason: 'canary' })).text)
  answers.push(
    (
      await sts.admin('POST', '/decisions/preview', {
        tenant: 'acme',
        client: CLIENT,
        subject_token: subject(),
      })
    ).text,
  )
  const wrongAdmin = keep('wrong admin token', `rma_${randomBytes(32).toString('base64url')}`)
  answers.push(
    (
      await ask(`${sts.adminUrl}/admin/v1/status`, {
        headers: { authorization: `Bearer ${wrongAdmin}` },
      })
    ).text,
  )

  sts.api.behave({ status: 500 })
  assert.equal(
    say(await sts.token(form({ subject_token: subject({ sub: 'bob', upn: 'bob@acme.example' }) })))
      .status,
    503,
  )
  sts.api.behave({ status: undefined })
  await provokeBug(sts, form(), say)
  answers.push((await ask(`${sts.adminUrl}/metrics`)).text)
}

/** A part fails in a way nobody foresaw, with a token in its message. */
async function provokeBug(
  sts: Sts,
  form: Readonly<Record<string, string>>,
  say: (answer: Answer) => Answer,
): Promise<void> {
  const { ledger } = sts.deployment.stores
  const append = ledger.append.bind(ledger)
  const bug = {
    append: () => Promise.reject(new TypeError(`cannot record ${form['subject_token'] ?? ''}`)),
  }
  Object.assign(ledger, bug)
  assert.equal(say(await sts.token(form)).status, 503)
  Object.assign(ledger, { append })
  const { keys } = sts.deployment
  const signingKey = keys.signingKey.bind(keys)
  Object.assign(keys, {
    signingKey: () => {
      throw new TypeError(`boom ${form['subject_token'] ?? ''}`)
    },
  })
  assert.equal(say(await sts.token(form)).status, 500)
  Object.assign(keys, { signingKey })
}

/** Base64 of raw bytes starts over every three bytes, so each of the three ways they can stand is looked for; and their hex. */
function spellings(bytes: Buffer): readonly string[] {
  return [0, 1, 2]
    .flatMap((skip) => {
      const part = bytes.subarray(skip)
      return [part.toString('base64url'), part.toString('base64')]
    })
    .concat(bytes.toString('hex'))
}

/** A run of `secret` in `text`, said by its place: the assertion must not print what it found. */
function found(text: string, secret: string): boolean {
  for (let from = 0; from + WINDOW <= secret.length; from += 1) {
    if (text.includes(secret.slice(from, from + WINDOW))) return true
  }
  return false
}

describe('the canary run', () => {
  let world: World
  let ledgerText: string
  before(async () => {
    const assertionKey = makeAssertionKey()
    const sts = await startSts({
      configure(config) {
        const clients = at(config, 'tenants.acme.clients')
        clients[BATCH] = {
          ...at(clients, CLIENT),
          auth: { privateKeyJwt: { jwks: { keys: [assertionKey.publicJwk] } } },
        }
        at(config, 'tenants.acme.idps.login')['presenters'] = [CLIENT, BATCH]
        at(config, 'tenants.acme.sources.hr')['auth'] = { bearer: '${file:./source-token}' }
      },
    })
    world = {
      sts,
      assertionKey,
      secrets: new Map([['client secret', sts.clientSecret]]),
      answers: [],
    }
    await run(world)
    const entries = await sts.deployment.stores.ledger.recent(
      'acme',
      500,
      undefined,
      AbortSignal.timeout(5000),
    )
    assert.ok(entries.length > 20, 'the ledger has what happened')
    ledgerText = JSON.stringify(entries)
    const folder = sts.databaseFile.replace(/[^/]*$/, '')
    world.secrets.set('key-encryption key', readFileSync(`${folder}kek`, 'utf8'))
    world.secrets.set('source token', readFileSync(`${folder}source-token`, 'utf8'))
    for (const key of sts.deployment.keys.list('acme')) {
      const half = await sts.deployment.stores.privateKeys?.get(
        'acme',
        key.kid,
        AbortSignal.timeout(5000),
      )
      // The tail of a PKCS#8 holds the public point, which JWKS publishes; the private scalar is at the front.
      if (half)
        spellings(half.reveal().subarray(36, 68)).forEach((text, index) =>
          world.secrets.set(`${key.kid} ${index}`, text),
        )
    }
  })
  after(() => world.sts.close())

  const nowhereIn = (place: string, text: () => string, except: readonly string[] = []) =>
    test(`leaves no secret in ${place}`, () => {
      const haystack = text()
      assert.ok(haystack.length > 1000, 'there is something to look through')
      const hits = [...world.secrets].filter(
        ([name, secret]) => !except.some((one) => name.startsWith(one)) && found(haystack, secret),
      )
      assert.deepEqual(
        hits.map(([name]) => name),
        [],
      )
    })

  void nowhereIn('the log', () => world.sts.logged())
  void nowhereIn('answers, errors, the admin API and metrics', () => world.answers.join('\n'))
  void nowhereIn('the ledger', () => ledgerText)
  void nowhereIn('the bytes of the database', () =>
    ['', '-wal']
      .map((suffix) => readFileSync(`${world.sts.databaseFile}${suffix}`, 'latin1'))
      .join(''),
  )
  void nowhereIn('what inspect shows of the deployment', () =>
    inspect(world.sts.deployment, { depth: 12, maxStringLength: 500 }),
  )

  test('would find a secret if there were one', () => {
    const [secret = ''] = [...world.secrets.values()].slice(-1)
    assert.ok(found(`${world.sts.logged()} ${secret.slice(3, 30)}`, secret))
  })
})
