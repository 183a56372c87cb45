/** What a resource server is told about a token, and what it is never told. */
import assert from 'node:assert/strict'
import { createPrivateKey, sign } from 'node:crypto'
import { request } from 'node:http'
import { after, before, describe, test } from 'node:test'
import { at, CLIENT, ISSUER, type Sts, startSts } from '../fakes/sts.ts'

const INACTIVE = '{"active":false}'

/** A clock that a test can turn. */
function turnableClock() {
  const clock = { ahead: 0, now: () => Date.now() + clock.ahead }
  return clock
}

function payloadOf(token: string): Record<string, unknown> {
  const payload: unknown = JSON.parse(
    Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
  )
  assert.ok(payload !== null && typeof payload === 'object')
  return Object.fromEntries(Object.entries(payload))
}

function headerOf(token: string): string {
  return Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()
}

/** The private half of a key of the ring: what a thief would have. */
async function stolenKey(sts: Sts, state: 'active' | 'published') {
  const key = sts.deployment.keys.list('acme').find((one) => one.state === state)
  assert.ok(key)
  const pkcs8 = await sts.deployment.stores.privateKeys?.get(
    'acme',
    key.kid,
    AbortSignal.timeout(5000),
  )
  assert.ok(pkcs8)
  const privateKey = createPrivateKey({ key: pkcs8.reveal(), format: 'der', type: 'pkcs8' })
  return (claims: Readonly<Record<string, unknown>>): string => {
    const parts = [{ alg: 'ES256', typ: 'at+jwt', kid: key.kid }, claims]
    const input = parts
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.')
    const signature = sign('sha256', Buffer.from(input), {
      key: privateKey,
      dsaEncoding: 'ieee-p1363',
    })
    return `${input}.${signature.toString('base64url')}`
  }
}

describe('introspection', () => {
  const clock = turnableClock()
  let sts: Sts
  before(async () => {
    sts = await startSts({
      parts: { clock },
      configure(config) {
        const clients = at(config, 'tenants.acme.clients')
        clients['stranger'] = { ...at(clients, CLIENT), grants: ['exchange'], resourceFor: [] }
      },
    })
  })
  after(() => sts.close())

  const inactive = async (token: string) => {
    const answer = await sts.introspect(token)
    assert.equal(answer.status, 200)
    assert.equal(answer.text, INACTIVE)
  }

  test('a fresh token is active, with the members of RFC 7662 §2.2 and the roles', async () => {
    const token = await sts.exchange({ scope: 'read' })
    const answer = await sts.introspect(token)
    const claims = payloadOf(token)
    assert.equal(answer.headers.get('cache-control'), 'no-store')
    assert.deepEqual(answer.body, {
      active: true,
      ...claims,
      token_type: 'Bearer',
      username: 'ada@acme.example',
    })
    for (const member of [
      'scope',
      'client_id',
      'exp',
      'iat',
      'nbf',
      'sub',
      'aud',
      'iss',
      'jti',
      'roles',
    ]) {
      assert.ok(Object.hasOwn(answer.body, member), member)
    }
  })

  test('a token forged with the real, stolen signing key is inactive, as nobody recorded it', async () => {
    const genuine = payloadOf(await sts.exchange())
    const forge = await stolenKey(sts, 'active')
    await inactive(
      forge({ ...genuine, jti: 'forged', origin_jti: 'forged', roles: ['orders.admin'] }),
    )
  })

  test('the same bytes as a recorded token, signed again with its key, are that token', async () => {
    const token = await sts.exchange()
    const forge = await stolenKey(sts, 'active')
    assert.equal((await sts.introspect(forge(payloadOf(token)))).body['active'], true)
  })

  test('a token signed by a key that is published and has never been active is inactive', async () => {
    const forge = await stolenKey(sts, 'published')
    await inactive(forge(payloadOf(await sts.exchange())))
  })

  test('an IdP token, garbage and an empty token say nothing but inactive, or that the parameter is missing', async () => {
    await inactive(sts.subjectToken())
    await inactive('garbage')
    const { status, body } = await sts.introspect('')
    assert.deepEqual([status, body['error_code']], [400, 'malformed_request'])
  })

  test('a resource server learns nothing of a token for another audience', async () => {
    await inactive(await sts.exchange({ audience: 'https://other.acme.example' }))
  })

  test('a client without the grant may not ask, and an unknown one does not get so far', async () => {
    const token = await sts.exchange()
    const ask = (id: string, secret: string) =>
      fetch(`${sts.url}/introspect`, {
        method: 'POST',
        body: new URLSearchParams({ token, client_id: id, client_secret: secret }),
      })
    const stranger = await ask('stranger', sts.clientSecret)
    assert.equal(stranger.status, 400)
    assert.match(await stranger.text(), /"error":"unauthorized_client"/)
    assert.equal((await ask('nobody', sts.clientSecret)).status, 401)
  })

  test('tokens of the former key stay active after a rotation, and new ones are too', async () => {
    const old = await sts.exchange()
    assert.equal(
      (await sts.admin('POST', '/keys/rotate', { tenant: 'acme', reason: 'test rotation' })).status,
      200,
    )
    const fresh = await sts.exchange()
    assert.notEqual(headerOf(old), headerOf(fresh))
    for (const token of [old, fresh])
      assert.equal((await sts.introspect(token)).body['active'], true)
  })

  test('a token is inactive from the second of its exp on', async () => {
    const token = await sts.exchange({ expires_in: '60' })
    clock.ahead += 58_000
    assert.equal((await sts.introspect(token)).body['active'], true)
    clock.ahead += 2_000
    await inactive(token)
  })
})

test('a token of one tenant is inactive at another, and signed by keys the other does not have', async () => {
  const sts = await startSts({
    configure(config) {
      const tenants = at(config, 'tenants')
      const acme = at(tenants, 'acme')
      const login = at(acme, 'idps.login')
      tenants['beta'] = {
        ...acme,
        issuer: 'https://sts.beta.example',
        idps: { login: { ...login, issuer: 'https://login.beta.example' } },
      }
    },
  })
  try {
    const ask = async (issuer: string, path: string, form: Record<string, string>) => {
      const body = new URLSearchParams(form).toString()
      return new Promise<string>((resolve, reject) => {
        const basic = Buffer.from(`${CLIENT}:${sts.clientSecret}`).toString('base64')
        const headers = {
          host: new URL(issuer).host,
          authorization: `Basic ${basic}`,
          'content-type': 'application/x-www-form-urlencoded',
          'content-length': Buffer.byteLength(body),
        }
        const sent = request(`${sts.url}${path}`, { method: 'POST', headers }, (response) => {
          let text = ''
          response.setEncoding('utf8').on('data', (part: string) => (text += part))
          response.on('end', () => resolve(text))
        })
        sent.on('error', reject).end(body)
      })
    }
    const issued = await ask(ISSUER, '/token', {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: sts.subjectToken(),
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    })
    const answer: { access_token: string } = JSON.parse(issued)
    assert.match(await ask(ISSUER, '/introspect', { token: answer.access_token }), /"active":true/)
    assert.equal(
      await ask('https://sts.beta.example', '/introspect', { token: answer.access_token }),
      INACTIVE,
    )
  } finally {
    await sts.close()
  }
})

test('when the ledger cannot be read the answer is 503, not inactive and not active', async () => {
  const broken = await startSts()
  const token = await broken.exchange()
  const { stores } = broken.deployment
  // A token that was never introspected here, so that nothing is remembered of it.
  const holds = stores.ledger.holds.bind(stores.ledger)
  Object.assign(stores.ledger, { holds: () => Promise.reject(new Error('disk gone')) })
  try {
    const answer = await broken.introspect(token)
    assert.equal(answer.status, 503)
    assert.equal(answer.body['error_code'], 'ledger_unavailable')
    assert.ok(answer.headers.get('retry-after'))
    Object.assign(stores.ledger, { holds })
    assert.equal((await broken.introspect(token)).body['active'], true)
  } finally {
    await broken.close()
  }
})
