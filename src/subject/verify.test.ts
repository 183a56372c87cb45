import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import { digestOf, jwksOf, mint, newTestKey, otherEs256Signature } from '../../test/fakes/jwt.ts'
import { aClient, anIdp, aTenant } from '../../test/fakes/policy.ts'
import { createSubjectWorld, ISSUER, START } from '../../test/fakes/subject.ts'
import { isRefusal, type RefusalCode } from '../lib/refusal.ts'
import { Secret } from '../lib/secret.ts'
import { verifyOwnToken } from './own-token.ts'
import { createVerifiedCache } from './verified-cache.ts'

function refuses(outcome: Promise<unknown>, code: RefusalCode): Promise<void> {
  return assert.rejects(outcome, (error) => isRefusal(error, code))
}

test('a genuine token yields its subject, and for how long it may be used', async () => {
  const { subject, token } = createSubjectWorld()
  const verified = await subject(token({ auth_time: START - 60, acr: 'phr', amr: ['hwk', 'pin'] }))
  assert.deepEqual(verified, {
    evidence: {
      idp: 'login',
      sub: 'u1',
      issuer: ISSUER,
      user: 'u1',
      issuedAt: START,
      expiresAt: START + 300,
      authTime: START - 60,
      acr: 'phr',
      amr: ['hwk', 'pin'],
    },
    usableUntil: START + 330,
    claims: [],
    kid: 'idp-1',
    alg: 'ES256',
  })
})

test('the subject is put behind the prefix of its IdP, the user is not', async () => {
  const { subject, token } = createSubjectWorld({ idp: { subjectPrefix: 'corp:' } })
  const { evidence } = await subject(token())
  assert.equal(evidence.sub, 'corp:u1')
  assert.equal(evidence.user, 'u1')
})

test('a UPN names the user and is pinned, without case, to the first subject of the IdP that has it', async () => {
  const { subject, token } = createSubjectWorld({
    idp: { userClaim: 'upn', subjectPrefix: 'corp:', upnDomains: ['acme.example'] },
  })
  const { evidence, claims } = await subject(token({ upn: 'Ada@ACME.example' }))
  assert.equal(evidence.upn, 'Ada@ACME.example')
  assert.equal(evidence.user, 'Ada@ACME.example')
  assert.deepEqual(claims, [
    { kind: 'pin', tenant: 'acme', key: 'ada@acme.example', owner: 'login|u1' },
  ])
})

test('a once-only token is told by its jti until its expiry, skew included', async () => {
  const { subject, token } = createSubjectWorld({ idp: { onceOnly: true } })
  const { claims } = await subject(token({ jti: 'j1', exp: START + 300.5 }))
  assert.deepEqual(claims, [
    {
      kind: 'once',
      scope: 'subject',
      tenant: 'acme',
      key: 'login|jti:j1',
      expiresAt: (START + 330.5) * 1000,
    },
  ])
})

test('a once-only token without jti is the same token when replayed with the other valid ECDSA signature', async () => {
  const { subject, token } = createSubjectWorld({ idp: { onceOnly: true } })
  const original = token()
  const replay = otherEs256Signature(original)
  assert.notEqual(replay, original)
  const first = await subject(original)
  const second = await subject(replay)
  assert.deepEqual(second.claims, first.claims)
  assert.deepEqual(
    first.claims.map((claim) => claim.key),
    [`login|sha256:${digestOf(original).toString('base64url')}`],
  )
})

test('a long jti is told by its digest, so that an IdP cannot fill the store', async () => {
  const { subject, token } = createSubjectWorld({ idp: { onceOnly: true } })
  const jti = 'j'.repeat(5000)
  const { claims } = await subject(token({ jti }))
  assert.equal(claims[0]?.key, `login|jti:${hash('sha256', jti, 'base64url')}`)
})

test('statements about the authentication are passed on only where they are well typed', async () => {
  const { subject, token } = createSubjectWorld()
  const { evidence } = await subject(token({ auth_time: '1', acr: 7, amr: ['pwd', 1] }))
  assert.ok(!('authTime' in evidence) && !('acr' in evidence) && !('amr' in evidence))
})

test('act and may_act come along, reduced to who they name', async () => {
  const { subject, token } = createSubjectWorld()
  const { evidence } = await subject(
    token({
      act: { sub: 'svc', iss: ISSUER, role: 'admin', act: { sub: 'svc-0' } },
      may_act: { client_id: 'orders-web', admin: true },
    }),
  )
  assert.deepEqual(evidence.act, { sub: 'svc', iss: ISSUER, act: { sub: 'svc-0' } })
  assert.deepEqual(evidence.mayAct, { client_id: 'orders-web' })
})

test('act and may_act that name nobody, or are no objects, are malformed rather than ignored', async () => {
  const { subject, token } = createSubjectWorld()
  for (const act of [
    'svc',
    [],
    {},
    { sub: 1 },
    { sub: '' },
    { sub: 'a', act: null },
    { sub: 'a', iss: 1 },
    null,
  ])
    await refuses(subject(token({ act })), 'malformed_token')
  for (const mayAct of ['svc', [], {}, { iss: 'x' }, { sub: 1 }, null])
    await refuses(subject(token({ may_act: mayAct })), 'malformed_token')
  let chain: object = { sub: 'a' }
  for (let depth = 1; depth < 9; depth++) chain = { sub: 'a', act: chain }
  await refuses(subject(token({ act: chain })), 'malformed_token')
})

test('an actor is verified like a subject, without a user name', async () => {
  const { verifier, tenant, client, token } = createSubjectWorld({
    idp: { userClaim: 'upn', subjectPrefix: 'corp:' },
  })
  const actor = (over: object) =>
    verifier.actor(
      tenant,
      client,
      { token: new Secret(token({ ...over })), type: 'jwt' },
      AbortSignal.timeout(1000),
    )
  assert.deepEqual(await actor({ act: { sub: 'x' } }), {
    evidence: {
      idp: 'login',
      sub: 'corp:u1',
      issuer: ISSUER,
      clientId: 'orders-web',
      delegated: true,
    },
    usableUntil: START + 330,
    claims: [],
  })
  await refuses(actor({ exp: START - 30 }), 'expired')
  await refuses(actor({ azp: 'other' }), 'wrong_presenter')
})

test('the presenter a token names can be peeked at, and is undefined for anything that is no token', () => {
  const { verifier, token } = createSubjectWorld()
  const peek = (text: string) => verifier.peekPresenter(new Secret(text))
  assert.equal(peek(token()), 'orders-web')
  assert.equal(peek(token({ azp: undefined, client_id: 'c' })), 'c')
  for (const text of [
    '',
    'a.b.c',
    token({ azp: 7 }),
    token({ azp: undefined }),
    'x'.repeat(20_000),
  ])
    assert.equal(peek(text), undefined)
})

test('a public client may bring only tokens that name it, whoever else may present', async () => {
  for (const presenters of ['any', undefined] as const) {
    const { subject, token } = createSubjectWorld({
      idp: { presenters },
      client: { auth: { method: 'public' } },
    })
    assert.ok(await subject(token()))
    assert.ok(await subject(token({ azp: undefined, client_id: 'orders-web' })))
    await refuses(subject(token({ azp: 'other' })), 'wrong_presenter')
    await refuses(subject(token({ azp: 'other', client_id: 'orders-web' })), 'wrong_presenter')
    await refuses(
      subject(token({ azp: undefined, aud: ['rolemint', 'orders-web'] })),
      'wrong_presenter',
    )
  }
})

test('configured presenters may bring tokens, and no one else; any means no binding', async () => {
  const listed = createSubjectWorld({ idp: { presenters: ['portal', 'mobile'] } })
  assert.ok(await listed.subject(listed.token({ azp: 'portal', client_id: 'mobile' })))
  await refuses(listed.subject(listed.token()), 'wrong_presenter')
  await refuses(
    listed.subject(listed.token({ azp: 'portal', client_id: 'orders-web' })),
    'wrong_presenter',
  )
  const unbound = createSubjectWorld({ idp: { presenters: 'any' } })
  assert.ok(await unbound.subject(unbound.token({ azp: 'whoever' })))
  assert.ok(await unbound.subject(unbound.token({ azp: undefined })))
})

test('a token that names no presenter must name an allowed one in its audience', async () => {
  const { subject, token } = createSubjectWorld()
  assert.ok(await subject(token({ azp: undefined, aud: ['rolemint', 'orders-web'] })))
  await refuses(subject(token({ azp: undefined })), 'wrong_presenter')
})

// The verified-token cache ---------------------------------------------------------------------------------------------

const SMALL = { maxEntries: 2, lifeMilliseconds: 60_000 } as const

test('a token seen before is not verified again, yet its times and its presenter are', async () => {
  const { subject, token, clock, tenant } = createSubjectWorld()
  const text = token({ exp: START + 20 })
  await subject(text)
  await subject(text)
  await refuses(
    subject(text, 'id_token', { client: aClient({ id: 'other', idps: ['login'] }) }),
    'wrong_presenter',
  )
  const moved = aTenant({
    idps: new Map([['login', anIdp({ ...tenant.idps.get('login'), audiences: ['x'] })]]),
  })
  await refuses(subject(text, 'jwt', { tenant: moved }), 'wrong_audience')
  clock.time += 50_000
  await refuses(subject(text), 'expired')
})

test('a token verified by a key whose kid was given to another since is refused as soon as the set was read anew', async () => {
  const { subject, token, clock, serve } = createSubjectWorld()
  const text = token({ exp: START + 3000 })
  await subject(text)
  clock.time += 599_000
  await subject(text)
  await subject(text)
  serve(jwksOf(newTestKey('ES256', 'idp-1')))
  clock.time += 1000
  // Its life is over: it serves once more, and the reading goes on behind the answer.
  await subject(text)
  await new Promise((resolve) => setImmediate(resolve))
  await refuses(subject(text), 'invalid_signature')
})

test('the first token of a key that took over a kid is accepted, and those of the former key are refused, remembered or not', async () => {
  const { subject, token, claims, clock, serve, documents } = createSubjectWorld()
  const remembered = token()
  for (let sight = 0; sight < 3; sight++) await subject(remembered)
  const successor = newTestKey('ES256', 'idp-1')
  serve(jwksOf(successor))
  clock.time += 10_000
  const before = documents.asked.length
  const fresh = mint({ key: successor, payload: claims({ jti: 'fresh' }) })
  const [one, two] = await Promise.all([subject(fresh), subject(fresh)])
  assert.equal(one.evidence.sub, two.evidence.sub)
  assert.equal(documents.asked.length, before + 1)
  await refuses(subject(remembered), 'invalid_signature')
  await refuses(subject(token({ jti: 'never seen' })), 'invalid_signature')
  await subject(fresh)
})

test('forgeries under a known kid, of whatever signature, are refused and cause one reading in ten seconds', async () => {
  const { subject, token, claims, clock, documents } = createSubjectWorld()
  await subject(token())
  const attacker = newTestKey('ES256', 'idp-1')
  const before = documents.asked.length
  for (let second = 0; second < 30; second++) {
    clock.time += 1000
    for (let n = 0; n < 20; n++)
      await refuses(
        subject(mint({ key: attacker, payload: claims({ jti: `${second}-${n}` }) })),
        'invalid_signature',
      )
    await subject(token({ jti: `good-${second}` }))
  }
  assert.equal(documents.asked.length - before, 3)
})

test('a reading that a forgery caused does not make good tokens be verified again', async () => {
  const { subject, token, clock, deps, tenant, documents } = createSubjectWorld()
  const text = token()
  for (let sight = 0; sight < 3; sight++) await subject(text)
  const known = deps.cache.open(tenant.name, text, { tokenBytes: 16_384 }).verifiedBy
  assert.notEqual(known, undefined)
  clock.time += 10_000
  const before = documents.asked.length
  await refuses(subject(token({}, { kid: 'forged' })), 'invalid_signature')
  assert.equal(documents.asked.length, before + 1)
  await subject(text)
  assert.equal(deps.cache.open(tenant.name, text, { tokenBytes: 16_384 }).verifiedBy, known)
})

test('the cache spares the signature check only for the very key that verified, and for a minute', () => {
  const { token, key, clock } = createSubjectWorld()
  const cache = createVerifiedCache({ clock }, { ...SMALL, keepFrom: 'first sight' })
  const text = token()
  const right = { kid: 'k', alg: 'ES256', key: key.privateKey } as const
  const limits = { tokenBytes: 16_384 }
  cache.confirm(text, cache.open('acme', text, limits), right)
  assert.equal(cache.open('acme', text, limits).verifiedBy, right)
  assert.equal(cache.open('globex', text, limits).verifiedBy, undefined)
  const wrong = { ...right, key: newTestKey().privateKey }
  assert.throws(
    () => cache.confirm(text, cache.open('acme', text, limits), wrong),
    (error) => isRefusal(error, 'invalid_signature'),
  )
  clock.time += 59_999
  assert.equal(cache.open('acme', text, limits).verifiedBy, right)
  clock.time += 1
  assert.equal(cache.open('acme', text, limits).verifiedBy, undefined)
})

test('a token that differs from a verified one in its signature only is another token', async () => {
  const { subject, token } = createSubjectWorld()
  const text = token()
  await subject(text)
  await subject(text)
  const end = text.lastIndexOf('.')
  await refuses(
    subject(`${text.slice(0, end)}.${Buffer.alloc(64, 1).toString('base64url')}`),
    'invalid_signature',
  )
})

test('forgeries are not remembered, and the oldest entry makes room', () => {
  const { token, key, clock } = createSubjectWorld()
  const cache = createVerifiedCache({ clock }, { ...SMALL, keepFrom: 'first sight' })
  const right = { kid: 'k', alg: 'ES256', key: key.privateKey } as const
  const limits = { tokenBytes: 16_384 }
  const texts = [token({ n: 1 }), token({ n: 2 }), token({ n: 3 })]
  for (const text of texts) cache.confirm(text, cache.open('acme', text, limits), right)
  assert.deepEqual(
    texts.map((text) => cache.open('acme', text, limits).verifiedBy),
    [undefined, right, right],
  )
  const forged = `${texts[0]}`.replace(/.{10}$/, 'AAAAAAAAAA')
  assert.throws(() => cache.confirm(forged, cache.open('acme', forged, limits), right))
  assert.equal(cache.open('acme', forged, limits).verifiedBy, undefined)
})

test('a token is kept from its second sight on, in one tenant, and a forgery of it counts for nothing', () => {
  const { token, key, clock } = createSubjectWorld()
  const cache = createVerifiedCache({ clock }, { ...SMALL, keepFrom: 'second sight' })
  const right = { kid: 'k', alg: 'ES256', key: key.privateKey } as const
  const limits = { tokenBytes: 16_384 }
  const text = token()
  const see = (tenant: string) => cache.confirm(text, cache.open(tenant, text, limits), right)
  const kept = (tenant: string) => cache.open(tenant, text, limits).verifiedBy === right
  const other = { ...right, key: newTestKey().privateKey }
  for (let tries = 0; tries < 3; tries += 1)
    assert.throws(() => cache.confirm(text, cache.open('acme', text, limits), other))
  see('acme')
  assert.ok(!kept('acme'))
  see('globex')
  assert.ok(!kept('globex'))
  see('acme')
  assert.ok(kept('acme') && !kept('globex'))
})

test('a header that was read before is the same header byte for byte, whatever stands around it', () => {
  const { token, key, clock } = createSubjectWorld()
  const cache = createVerifiedCache({ clock })
  const right = { kid: 'k', alg: 'ES256', key: key.privateKey } as const
  const limits = { tokenBytes: 16_384 }
  const open = (text: string) => cache.open('acme', text, limits)
  const text = token()
  cache.confirm(text, open(text), right)
  const [header = '', payload = '', signature = ''] = text.split('.')
  const { alg, kid, typ } = open(token({ n: 1 }))
  assert.deepEqual({ alg, kid, typ }, { alg: 'ES256', kid: open(text).kid, typ: open(text).typ })
  // The parts beside a known header are as strictly read as ever, and so is a header that differs in its last character.
  for (const bad of [
    `${header}=.${payload}.${signature}`,
    `${header}.${payload}=.${signature}`,
    `${header}.${payload}.${signature}=`,
    `${header}.${payload}`,
    `${header}.${payload}.${signature}.${signature}`,
  ]) {
    assert.throws(
      () => open(bad),
      (error) => isRefusal(error, 'malformed_token'),
    )
  }
  const none = Buffer.from('{"alg":"none"}').toString('base64url')
  assert.throws(
    () => open(`${none}.${payload}.${signature}`),
    (error) => isRefusal(error, 'algorithm_not_allowed'),
  )
})

test('a limit that was lowered holds at once, for tokens seen before too', async () => {
  const world = createSubjectWorld()
  const text = world.token()
  await world.subject(text)
  await world.subject(text)
  world.limits.tokenBytes = text.length - 1
  await refuses(world.subject(text), 'token_too_large')
})

// Tokens of our own ----------------------------------------------------------------------------------------------------

test('a token of ours is exchanged again with its whole past', async () => {
  const { subject, mintOwn, record } = createSubjectWorld({ client: { exchangeOwn: true } })
  const text = record(
    mintOwn({ lineage: ['a', 'b'], origin_jti: 'a', scope: 'read write', act: { sub: 'svc' } }),
  )
  assert.deepEqual(await subject(text, 'access_token'), {
    evidence: {
      idp: 'login',
      sub: 'u1',
      issuer: 'https://sts.example',
      user: 'u1',
      issuedAt: START,
      expiresAt: START + 3600,
      act: { sub: 'svc' },
      own: {
        jti: 'own-jti',
        clientId: 'orders-web',
        originJti: 'a',
        lineage: ['a', 'b'],
        sessionExp: START + 43_200,
        roles: ['orders.read', 'orders.write'],
        scopes: ['read', 'write'],
      },
    },
    usableUntil: START + 3600,
    claims: [],
    kid: 'own-1',
    alg: 'ES256',
    ownKid: 'own-1',
  })
})

test('the UPN in a token of ours is pinned again, to the IdP and its own sub', async () => {
  const { subject, mintOwn, record } = createSubjectWorld({
    client: { exchangeOwn: true },
    idp: { subjectPrefix: 'corp:', userClaim: 'upn' },
  })
  const verified = await subject(record(mintOwn({ sub: 'corp:u1', upn: 'ada@acme.example' })))
  assert.equal(verified.evidence.user, 'ada@acme.example')
  assert.equal(verified.evidence.sub, 'corp:u1')
  assert.deepEqual(verified.claims, [
    { kind: 'pin', tenant: 'acme', key: 'ada@acme.example', owner: 'login|u1' },
  ])
})

test('a client that may not exchange our tokens is refused, and no key is looked for', async () => {
  const { subject, mintOwn, record, documents } = createSubjectWorld()
  await refuses(subject(record(mintOwn())), 'untrusted_issuer')
  assert.deepEqual(documents.asked, [])
})

test('a token signed by our key that nobody recorded is not one of ours', async () => {
  const { subject, mintOwn, record } = createSubjectWorld({ client: { exchangeOwn: true } })
  await refuses(subject(mintOwn()), 'invalid_signature')
  await refuses(subject(record(mintOwn(), 'globex')), 'invalid_signature')
})

test('a ledger that cannot be read refuses for now, rather than for good', async () => {
  const { deps, tenant, mintOwn, limits } = createSubjectWorld()
  const own = { ...deps.own, recorded: () => Promise.reject(new Error('disk')) }
  await refuses(
    verifyOwnToken(
      { ...deps, own },
      tenant,
      new Secret(mintOwn()),
      limits,
      AbortSignal.timeout(1000),
    ),
    'ledger_unavailable',
  )
})

function ownExchanger(id: string, resourceFor: string[]) {
  return { client: aClient({ id, idps: ['login'], exchangeOwn: true, resourceFor }) }
}

test('a token of ours is brought only by the client it was issued to, or by a resource server it is for', async () => {
  const { subject, mintOwn, record } = createSubjectWorld()
  const text = record(mintOwn({ aud: ['https://api.example', 'https://other.example'] }))
  assert.ok(await subject(text, 'jwt', ownExchanger('orders-web', [])))
  assert.ok(await subject(text, 'jwt', ownExchanger('orders-api', ['https://api.example'])))
  await refuses(subject(text, 'jwt', ownExchanger('orders-api', [])), 'wrong_presenter')
  await refuses(
    subject(text, 'jwt', ownExchanger('orders-api', ['https://third.example'])),
    'wrong_presenter',
  )
})

test('a token of ours is refused when it is bound to a key, badly typed, or of another kind', async () => {
  const { subject, mintOwn, record } = createSubjectWorld({ client: { exchangeOwn: true } })
  const brought = (over: object, header?: object) =>
    subject(record(mintOwn({ ...over }, { ...header })))
  await refuses(brought({ cnf: { jkt: 'x' } }), 'proof_required')
  await refuses(brought({}, { typ: 'statuslist+jwt' }), 'wrong_type')
  await refuses(brought({}, { typ: undefined }), 'wrong_type')
  await refuses(brought({}, { typ: 'JWT' }), 'wrong_type')
  await refuses(subject(record(mintOwn()), 'id_token'), 'wrong_type')
  await refuses(brought({ tenant: 'globex' }), 'malformed_token')
  await refuses(brought({ session_exp: undefined }), 'malformed_token')
  await refuses(brought({ roles: 'admin' }), 'malformed_token')
  await refuses(brought({ lineage: [1] }), 'malformed_token')
  await refuses(brought({ scope: ['read'] }), 'malformed_token')
  await refuses(brought({ cnf: 'x' }), 'malformed_token')
  await refuses(brought({ jti: undefined }), 'missing_claim')
  await refuses(brought({ client_id: undefined }), 'missing_claim')
  await refuses(brought({}, { kid: 'own-2' }), 'invalid_signature')
  await refuses(brought({}, { alg: 'ES384' }), 'invalid_signature')
  await refuses(brought({}, { kid: undefined }), 'invalid_signature')
})

test('a token of ours expires to the second, without skew', async () => {
  const { subject, mintOwn, record, clock } = createSubjectWorld({ client: { exchangeOwn: true } })
  const text = record(mintOwn({ exp: START + 10 }))
  clock.time += 9999
  assert.ok(await subject(text))
  clock.time += 1
  await refuses(subject(text), 'expired')
})

test('a token of ours from the future is refused, beyond the skew between replicas', async () => {
  const { subject, mintOwn, record } = createSubjectWorld({ client: { exchangeOwn: true } })
  assert.ok(await subject(record(mintOwn({ iat: START + 30, nbf: START + 30 }))))
  await refuses(subject(record(mintOwn({ iat: START + 31 }))), 'not_yet_valid')
  await refuses(subject(record(mintOwn({ nbf: START + 31 }))), 'not_yet_valid')
})

test('a public client brings our tokens only if they were issued to it, whatever it serves', async () => {
  const { subject, mintOwn, record } = createSubjectWorld({
    client: {
      auth: { method: 'public' },
      exchangeOwn: true,
      resourceFor: ['https://api.example'],
    },
  })
  assert.ok(await subject(record(mintOwn())))
  await refuses(subject(record(mintOwn({ client_id: 'other' }))), 'wrong_presenter')
})

test('a token of ours made from an IdP that is disabled, gone or not this client’s is refused', async () => {
  const own = { exchangeOwn: true }
  const disabled = createSubjectWorld({ client: own, idp: { disabled: true } })
  await refuses(disabled.subject(disabled.record(disabled.mintOwn())), 'untrusted_issuer')
  const foreign = createSubjectWorld({ client: { ...own, idps: [] } })
  await refuses(foreign.subject(foreign.record(foreign.mintOwn())), 'untrusted_issuer')
  const gone = createSubjectWorld({ client: own })
  await refuses(gone.subject(gone.record(gone.mintOwn({ idp: 'gone' }))), 'untrusted_issuer')
  const moved = createSubjectWorld({ client: own, idp: { subjectPrefix: 'corp:' } })
  await refuses(moved.subject(moved.record(moved.mintOwn())), 'malformed_token')
})

test('a token of an IdP key that says it is ours is not', async () => {
  const { subject, key, ownClaims, record } = createSubjectWorld({ client: { exchangeOwn: true } })
  for (const kid of ['idp-1', 'own-1']) {
    const text = mint({ key, header: { typ: 'at+jwt', kid }, payload: ownClaims() })
    await refuses(subject(record(text)), 'invalid_signature')
  }
})

test('introspection gets the claims of a token of ours as they are', async () => {
  const { deps, tenant, mintOwn, record, limits } = createSubjectWorld()
  const text = record(mintOwn({ custom: 1 }))
  const { payload } = await verifyOwnToken(
    deps,
    tenant,
    new Secret(text),
    limits,
    AbortSignal.timeout(1000),
  )
  assert.equal(payload['custom'], 1)
  assert.equal(payload['jti'], 'own-jti')
})

/** Four times: kept from the second on, so the third is answered from the verified-token cache without reading the subject again. */
async function remember(world: ReturnType<typeof createSubjectWorld>, text: string) {
  const first = await world.subject(text)
  assert.deepEqual(await world.subject(text), first)
  assert.deepEqual(await world.subject(text), first)
  assert.deepEqual(await world.subject(text), first)
}

test('a remembered token is judged anew for another client, another declared type, and by the clock', async () => {
  const world = createSubjectWorld({ idp: { maxAgeSeconds: 3600 } })
  const text = world.token()
  await remember(world, text)
  const other = aClient({ id: 'other', idps: ['login'] })
  await refuses(world.subject(text, 'jwt', { client: other }), 'wrong_presenter')
  const accessToken = world.token({}, { typ: 'at+jwt' })
  await remember(world, accessToken)
  await refuses(world.subject(accessToken, 'id_token'), 'wrong_type')
  world.clock.time += 331_000
  await refuses(world.subject(text), 'expired')
})

test('an IdP without a prefix cannot name a subject of an IdP that has one', async () => {
  const partner = anIdp({
    name: 'partner',
    issuer: 'https://partner.example',
    subjectPrefix: 'partner:',
  })
  const login = anIdp({
    name: 'login',
    issuer: ISSUER,
    keySource: { kind: 'discovery', issuer: ISSUER },
    userClaim: 'sub',
  })
  const idps = new Map([
    ['login', login],
    ['partner', partner],
  ])
  const { subject, token } = createSubjectWorld({ tenant: { idps } })
  await refuses(subject(token({ sub: 'partner:alice' })), 'untrusted_issuer')
  assert.equal((await subject(token({ sub: 'partne' }))).evidence.sub, 'partne')
})
