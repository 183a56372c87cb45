/** Two replicas of one deployment on a real PostgreSQL: what one does holds at the other, and nothing is issued without the database. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { JWT_BEARER } from '../../src/client/methods/private-key-jwt.ts'
import { jwksOf, mint, newTestKey, type TestKey } from '../fakes/jwt.ts'
import { type Postgres, startPostgres } from '../fakes/postgres.ts'
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
import { postgres as postgresPart, suiteNeeding } from '../skip.ts'

const ASSERTING = 'orders-batch'
/** The budget of a request is five seconds; the rest is a busy machine. */
const BUDGET_MILLISECONDS = 10_000

interface World {
  readonly postgres: Postgres
  /** In the maintenance user's eyes; for looking at the server from outside. */
  readonly databaseUrl: string
  readonly one: Sts
  readonly two: Sts
  readonly assertionKey: TestKey
  close(): Promise<void>
}

/** Both replicas know the same database, key-encryption key, IdP and clients, as replicas from the same files do. */
async function openWorld(native: string): Promise<World> {
  const postgres = await startPostgres(native)
  const shared = mkdtempSync(join(tmpdir(), 'rolemint-shared-'))
  const [kek, url] = [join(shared, 'kek'), join(shared, 'url')]
  const databaseUrl = (await postgres.createDatabase()).reveal()
  writeFileSync(kek, randomBytes(32).toString('base64url'), { mode: 0o600 })
  writeFileSync(url, databaseUrl, { mode: 0o600 })
  const idpKey = newTestKey('ES256', 'idp-1')
  const assertionKey = newTestKey('ES256', 'batch-1')
  const secret = `rms_${randomBytes(32).toString('base64url')}`
  const sha256 = createHash('sha256').update(secret).digest('base64url')
  const start = () =>
    startSts({
      configure(tree) {
        tree['store'] = { postgres: `\${file:${url}}` }
        at(tree, 'keys.store.sealed')['kek'] = `\${file:${kek}}`
        at(tree, 'tenants.acme.idps.login')['jwks'] = jwksOf(idpKey)
        const clients = at(tree, 'tenants.acme.clients')
        at(clients, `${CLIENT}.auth.clientSecret`)['sha256'] = [sha256]
        clients[ASSERTING] = {
          ...structuredClone(at(clients, CLIENT)),
          auth: { privateKeyJwt: { jwks: jwksOf(assertionKey) } },
        }
      },
    })
  const one = await start()
  const two = await start()
  const patched = (sts: Sts): Sts => withCredentials(sts, idpKey, secret)
  return {
    postgres,
    databaseUrl,
    one: patched(one),
    two: patched(two),
    assertionKey,
    async close() {
      await Promise.all([one.close(), two.close()])
      await postgres.stop()
      rmSync(shared, { recursive: true, force: true })
    },
  }
}

/** A replica as a client sees it that knows the shared secret and brings tokens of the shared IdP. */
function withCredentials(sts: Sts, idpKey: TestKey, secret: string): Sts {
  const authorization = `Basic ${Buffer.from(`${CLIENT}:${secret}`).toString('base64')}`
  const subjectToken: Sts['subjectToken'] = (claims, over) =>
    sts.subjectToken(claims, { ...over, key: idpKey })
  const post = (path: string, form: Record<string, string>) =>
    ask(`${sts.url}${path}`, { method: 'POST', body: encode(form), headers: { authorization } })
  return {
    ...sts,
    subjectToken,
    introspect: (token) => post('/introspect', { token }),
    async exchange() {
      const answer = await exchangeAt(sts, { subject: subjectToken(), authorization })
      assert.equal(answer.status, 200, answer.text)
      return String(answer.body['access_token'])
    },
    token: (form) => post('/token', form as Record<string, string>),
  }
}

function exchangeAt(
  sts: Sts,
  how: { subject: string; authorization?: string; assertion?: string },
): Promise<Answer> {
  const { subject, authorization, assertion } = how
  return ask(`${sts.url}/token`, {
    method: 'POST',
    body: encode({
      grant_type: EXCHANGE,
      subject_token_type: JWT_TYPE,
      subject_token: subject,
      ...(assertion === undefined
        ? {}
        : { client_assertion_type: JWT_BEARER, client_assertion: assertion }),
    }),
    ...(authorization === undefined ? {} : { headers: { authorization } }),
  })
}

const tokenForm = (sts: Sts, claims?: Readonly<Record<string, unknown>>) => ({
  grant_type: EXCHANGE,
  subject_token_type: JWT_TYPE,
  subject_token: sts.subjectToken(claims),
})

const kidOf = (token: string): unknown =>
  JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).kid

/** Asks until it holds; the machine may be busy, but not for ever. */
async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const until = performance.now() + 30_000
  while (!(await holds())) {
    assert.ok(performance.now() < until, `within 30 s: ${what}`)
    await sleep(50)
  }
}

/** Stops every process of the server where it stands, as a machine does that hangs; gives what lets them go on. */
async function freeze({ databaseUrl }: World): Promise<() => void> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  const { rows } = await client.query<{ pid: string }>(
    `select split_part(pg_read_file('postmaster.pid'), e'\n', 1) as pid`,
  )
  await client.end()
  const postmaster = Number(rows[0]?.pid)
  assert.ok(postmaster > 1)
  // First the parent, so that no child comes after the list was made.
  process.kill(postmaster, 'SIGSTOP')
  const children = spawnSync('ps', ['-o', 'pid=', '--ppid', String(postmaster)], {
    encoding: 'utf8',
  })
  const all = [postmaster, ...children.stdout.trim().split(/\s+/).map(Number)]
  signal(all.slice(1), 'SIGSTOP')
  return () => signal(all, 'SIGCONT')
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch {
      // It has ended by itself meanwhile.
    }
  }
}

suiteNeeding('two replicas on PostgreSQL', postgresPart, (native) => {
  let world: World
  before(async () => {
    world = await openWorld(native)
  })
  after(() => world.close())

  describe('while the database is there', () => {
    test('an exchange is answered and recorded, and the token introspects as active', async () => {
      const { one } = world
      const token = await one.exchange()
      const { body } = await one.introspect(token)
      assert.equal(body['active'], true)
      assert.deepEqual(body['roles'], ['orders.read', 'orders.write'])
      const { entries } = (await one.admin('GET', '/audit/entries?tenant=acme&limit=1')).body as {
        entries: { id: string }[]
      }
      assert.equal(entries[0]?.id, body['jti'])
    })

    test('a token of one replica is active at the other at once, both ways', async () => {
      for (let round = 0; round < 25; round += 1) {
        for (const [issuing, asked] of [
          [world.one, world.two],
          [world.two, world.one],
        ] as const) {
          const { body } = await asked.introspect(await issuing.exchange())
          assert.equal(body['active'], true, `round ${round}`)
        }
      }
    })

    test('both sign with the same key and publish the same keys', async () => {
      const { one, two } = world
      assert.equal(kidOf(await one.exchange()), kidOf(await two.exchange()))
      const [first, second] = await Promise.all([one, two].map(({ url }) => ask(`${url}/jwks`)))
      assert.deepEqual(first?.body, second?.body)
    })

    test('a rotation at one replica: its new tokens are active at the other at once, which soon signs with the new key too', async () => {
      const { one, two } = world
      const old = await two.exchange()
      const rotated = await one.admin('POST', '/keys/rotate', { tenant: 'acme', reason: 'test' })
      assert.equal(rotated.status, 200, rotated.text)
      const fresh = await one.exchange()
      assert.notEqual(kidOf(fresh), kidOf(old))

      assert.equal((await two.introspect(fresh)).body['active'], true)
      assert.equal((await two.introspect(old)).body['active'], true)
      await eventually(
        'the other replica signs with the new key',
        async () => kidOf(await two.exchange()) === kidOf(fresh),
      )
      assert.equal((await one.introspect(old)).body['active'], true)
    })

    test('an assertion raced at both replicas is accepted by exactly one', async () => {
      const { one, two, assertionKey } = world
      for (let round = 0; round < 20; round += 1) {
        const now = Math.floor(Date.now() / 1000)
        const claims = { iss: ASSERTING, sub: ASSERTING, aud: ISSUER, iat: now, exp: now + 60 }
        const assertion = mint({ key: assertionKey, payload: { ...claims, jti: randomUUID() } })
        const answers = await Promise.all(
          [one, two, one, two].map((sts) =>
            exchangeAt(sts, { subject: sts.subjectToken(), assertion }),
          ),
        )
        const outcomes = answers.map(({ status, body }) =>
          status === 200 ? 'token' : body['error_code'],
        )
        assert.deepEqual(outcomes.map(String).toSorted(), [
          'client_auth_failed',
          'client_auth_failed',
          'client_auth_failed',
          'token',
        ])
      }
    })

    test('a user principal name taken at one replica is refused to another subject at the other', async () => {
      const { one, two } = world
      const name = { upn: 'bob@acme.example' }
      const first = await one.token(tokenForm(one, { ...name, sub: 'bob' }))
      assert.equal(first.status, 200, first.text)
      const second = await two.token(tokenForm(two, { ...name, sub: 'mallory' }))
      assert.deepEqual([second.status, second.body['error_code']], [400, 'upn_conflict'])
    })
  })

  /** Exchanges are refused in time, with no token; then the database is back, and so is everything else. */
  async function outage(begin: () => Promise<() => unknown>) {
    const { one, two } = world
    const earlier = await one.exchange()
    const end = await begin()
    try {
      const began = performance.now()
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, index) => {
          const sts = index % 2 === 0 ? one : two
          return sts.token(tokenForm(sts))
        }),
      )
      const milliseconds = performance.now() - began
      for (const { status, body, headers, text } of answers) {
        assert.equal(status, 503, text)
        assert.deepEqual(
          [body['error_code'], body['error'], body['access_token']],
          ['ledger_unavailable', 'temporarily_unavailable', undefined],
        )
        assert.match(headers.get('retry-after') ?? '', /^\d+$/)
        assert.doesNotMatch(text, /postgres|127\.0\.0\.1|ECONN/i)
      }
      assert.ok(milliseconds < BUDGET_MILLISECONDS, `it took ${milliseconds} ms`)

      const introspected = await one.introspect(earlier)
      assert.equal(introspected.status, 503, 'membership is not known, so the answer is not either')
      assert.equal((await ask(`${one.adminUrl}/readyz`)).status, 503)
      assert.equal((await ask(`${one.adminUrl}/livez`)).status, 200)
      // What needs no database is served on.
      assert.equal((await ask(`${one.url}/jwks`)).status, 200)
    } finally {
      await end()
    }
    for (const sts of [one, two]) {
      await eventually('exchanges are answered again', async () => {
        return (await sts.token(tokenForm(sts))).status === 200
      })
      await eventually('it is ready again', async () => {
        return (await ask(`${sts.adminUrl}/readyz`)).status === 200
      })
      // A replica that has just come back does not know yet what was cut off meanwhile: it says 503 until it does, never "active".
      await eventually('introspection is answered again', async () => {
        const { status, body } = await sts.introspect(earlier)
        assert.ok(status === 503 || body['active'] === true)
        return status === 200
      })
    }
  }

  describe('when the database goes away', () => {
    test('a crash: 503 ledger_unavailable and no token; after its start everything works again', async () => {
      await outage(async () => {
        await world.postgres.crash()
        return () => world.postgres.start()
      })
    })

    test('it hangs: 503 ledger_unavailable within the budget and no token; afterwards everything works again', async () => {
      await outage(() => freeze(world))
    })
  })
})
