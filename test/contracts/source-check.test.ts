/** `checkSource`: the demo keeps the contract, and whoever breaks a clause of it is found out. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { startDemoEntitlements } from '../../demo/entitlements.ts'
import { createEgress } from '../../src/adapters/http/egress.ts'
import { createHttpEntitlementSource } from '../../src/adapters/http/entitlement-source.ts'
import { checkSource, type SourceReport } from '../../src/entitlement/check-source.ts'
import type { Source } from '../../src/entitlement/options.ts'
import { monotonicClock, systemClock } from '../../src/lib/clock.ts'
import { createSystemRandom } from '../../src/lib/id.ts'
import { Secret } from '../../src/lib/secret.ts'
import {
  type ApiBehaviour,
  type EntitlementApi,
  startEntitlementApi,
} from '../fakes/entitlement-api.ts'
import { sourceOf } from '../fakes/entitlement-source.ts'

const egress = () => createEgress({ allow: [], allowLoopback: true })

function check(source: Source, user: string, maxRoles = 200): Promise<SourceReport> {
  return checkSource(
    {
      open: (observed) =>
        createHttpEntitlementSource({ egress: egress(), clock: systemClock, observed }),
      random: createSystemRandom(),
      clock: monotonicClock,
    },
    source,
    { user, maxRoles },
  )
}

const AUTH = { header: 'authorization', value: new Secret('Bearer s3cret') }
const ROLES = ['a', 'b', 'c', 'd', 'e']

/** What is not `ok`, as `name verdict`. */
const troubles = ({ findings }: SourceReport) =>
  findings.filter(({ verdict }) => verdict !== 'ok').map((one) => `${one.check} ${one.verdict}`)

const batchOf = (url: string) => ({
  url,
  usersMember: 'users',
  answersPath: 'answers[*]',
  userPath: 'user',
  rolesPath: 'roles',
  unknownPath: 'unknown',
  windowMilliseconds: 1,
  max: 100,
})

test('the demo entitlement API keeps the contract, page by page and in batches', async () => {
  const api = await startDemoEntitlements()
  try {
    const source = sourceOf({
      url: `${api.url}/users/{user}/roles`,
      auth: { header: 'authorization', value: new Secret(`Bearer ${api.bearer}`) },
      echoPath: 'user',
    })
    const consistencies = [
      { kind: 'snapshot', at: { path: 'version' } },
      { kind: 'recheck' },
    ] as const
    for (const consistency of consistencies) {
      const report = await check({ ...source, consistency }, 'alice@demo.example')
      assert.equal(report.outcome, 'kept', JSON.stringify(report, null, 2))
      assert.equal(report.roles?.length, 5)
      assert.deepEqual(troubles(report), ['transport warn'])
    }
    const batch = batchOf(`${api.url}/roles`)
    const report = await check({ ...source, batch }, 'alice@demo.example')
    assert.equal(report.outcome, 'kept', JSON.stringify(report, null, 2))
    assert.deepEqual(troubles(report), ['pages skip', 'transport warn'])
  } finally {
    await api.close()
  }
})

async function againstFake(
  use: (
    api: EntitlementApi,
    ask: (over?: Partial<Source>) => Promise<SourceReport>,
  ) => Promise<void>,
): Promise<void> {
  const api = await startEntitlementApi()
  api.users.set('ada', ROLES)
  api.behave({ authorization: 'Bearer s3cret', etags: true })
  const usual = sourceOf({
    url: api.url,
    auth: AUTH,
    echoPath: 'user',
    consistency: { kind: 'recheck' },
  })
  try {
    await use(api, (over = {}) => check({ ...usual, ...over }, 'ada'))
  } finally {
    await api.close()
  }
}

test('an honest API has nothing to mend but the lack of TLS', () =>
  againstFake(async (_api, ask) => {
    const report = await ask()
    assert.equal(report.outcome, 'kept')
    assert.deepEqual(report.roles, ROLES)
    assert.deepEqual(troubles(report), ['transport warn'])
  }))

/** What the API does | the finding that has to tell, and what its mend has to speak of. */
const MISBEHAVIOURS: Readonly<
  Record<string, readonly [Partial<ApiBehaviour>, string, RegExp, Partial<Source>?]>
> = {
  'answers a random name with an empty list': [
    { unknownAs: { status: 200, body: '{"items":[],"next":null}' } },
    'unknown-user fail',
    /404/,
    { echoPath: undefined },
  ],
  'answers a random name with roles': [
    { unknownAs: { status: 200, body: '{"items":[{"role":"a"}],"next":null}' } },
    'unknown-user fail',
    /404/,
    { echoPath: undefined },
  ],
  'answers a random name with 500': [
    { unknownAs: { status: 500, body: '{}' } },
    'unknown-user fail',
    /404/,
  ],
  'gives roles to anybody who asks': [{ authorization: undefined }, 'wrong-credential fail', /401/],
  'says 404 to a wrong credential': [{ refusedAs: 404 }, 'no-credential fail', /401/],
  'says 500 to a wrong credential': [{ refusedAs: 500 }, 'wrong-credential fail', /401/],
  'refuses our credential': [{ authorization: 'Bearer other' }, 'known-user fail', /auth/],
  redirects: [{ status: 302, location: '/elsewhere' }, 'known-user fail', /address/],
  'answers in HTML': [{ contentType: 'text/html' }, 'known-user fail', /application\/json/],
  compresses: [{ headers: { 'content-encoding': 'gzip' } }, 'known-user fail', /compress/],
  'links to another origin': [
    { lie: (page) => ({ ...page, next: 'https://evil.test/' }) },
    'known-user fail',
    /origin/,
  ],
  'links in a circle': [
    { lie: (page) => ({ ...page, next: '?page=1' }) },
    'known-user fail',
    /last page/,
  ],
  'answers about somebody else': [
    { lie: (page) => ({ ...page, user: 'bob' }) },
    'known-user fail',
    /echo/,
  ],
  'has another shape': [{ lie: () => ({ roles: [] }) }, 'known-user fail', /paths|echo/],
  'is no JSON': [{ body: '<roles/>' }, 'known-user fail', /JSON/],
  'breaks off at page 2': [{ status: 404, fromPage: 2 }, 'known-user fail', /linked/],
  'limits the rate': [{ status: 429 }, 'known-user fail', /more requests/],
  'fails inside': [{ status: 500 }, 'known-user fail', /log of the source/],
  'sends no ETag where pages are rechecked': [{ etags: false }, 'known-user fail', /ETag/],
  'lets a cache answer': [{ headers: { age: '77' } }, 'caches warn', /no-cache/],
  'says things twice': [
    { lie: (page) => ({ ...page, items: [{ role: 'a' }] }) },
    'pages warn',
    /order/,
  ],
  'has pages of a megabyte, nearly': [
    { lie: (page) => ({ ...page, pad: 'x'.repeat(600_000) }) },
    'size warn',
    /smaller/,
  ],
  'decodes twice': [{ decodesTwice: true }, 'odd-names fail', /once/],
  'refuses encoded slashes, as many gateways do': [
    { refusesOddNames: true },
    'odd-names warn',
    /gateway/,
  ],
}

for (const [what, [behaviour, finding, mend, over]] of Object.entries(MISBEHAVIOURS)) {
  test(`an API that ${what} is found out`, () =>
    againstFake(async (api, ask) => {
      api.behave(behaviour)
      const report = await ask(over)
      assert.ok(troubles(report).includes(finding), JSON.stringify(report, null, 2))
      const name = finding.split(' ')[0]
      const found = report.findings.find((one) => one.check === name)
      assert.match(found?.mend ?? '', mend)
      assert.equal(report.outcome, finding.endsWith('fail') ? 'broken' : 'kept')
    }))
}

test('an API whose list is another at each reading is found out', () =>
  againstFake(async (api, ask) => {
    let reading = 0
    api.behave({
      before(page) {
        if (page === 1) api.users.set('ada', [...ROLES, `r${(reading += 1)}`])
      },
    })
    const report = await ask({ consistency: { kind: 'none' } })
    assert.ok(troubles(report).includes('stable fail'), JSON.stringify(report))
  }))

test('a batch that says something else than single reads is found out', () =>
  againstFake(async (api, ask) => {
    const batch = batchOf(api.batchUrl)
    assert.equal((await ask({ batch })).outcome, 'kept')
    api.behave({
      lieInBatch: ({ answers, unknown }) => ({
        answers: answers.map((one) => ({ ...one, roles: one.roles.slice(1) })),
        unknown,
      }),
    })
    assert.ok(troubles(await ask({ batch })).includes('batch fail'))
    api.behave({ lieInBatch: ({ answers }) => ({ answers, unknown: [] }) })
    assert.ok(troubles(await ask({ batch })).includes('unknown-user fail'))
  }))

test('what is missing in the configuration is said', () =>
  againstFake(async (api, ask) => {
    const report = await ask({ echoPath: undefined, consistency: { kind: 'none' } })
    assert.deepEqual(troubles(report), ['pages warn', 'echo warn', 'transport warn'])
    api.behave({ authorization: undefined })
    assert.ok(troubles(await ask({ auth: undefined })).includes('credential warn'))
  }))

test('a user the source does not know, or who has no roles, shows too little', () =>
  againstFake(async (api, ask) => {
    api.users.set('ada', [])
    assert.ok(troubles(await ask()).includes('known-user warn'))
    api.users.delete('ada')
    const report = await ask()
    assert.equal(report.outcome, 'broken')
    assert.equal(report.roles, undefined)
    assert.ok(troubles(report).includes('known-user fail'))
  }))

test('nobody there is told apart from a broken contract', () =>
  againstFake(async (api, ask) => {
    api.behave({ hang: true })
    assert.equal((await ask({ readMilliseconds: 100 })).outcome, 'unreachable')
    assert.equal((await ask({ totalMilliseconds: 100 })).outcome, 'unreachable')
    await api.close()
    assert.equal((await ask()).outcome, 'unreachable')
  }))

test('a report holds no credential', () =>
  againstFake(async (_api, ask) => {
    assert.doesNotMatch(JSON.stringify(await ask()), /s3cret/)
  }))

test('docs/contracts/source.md explains every check, and no other', () => {
  const root = new URL('../..', import.meta.url)
  const read = (path: string) => readFileSync(new URL(path, root), 'utf8')
  const named = globSync('src/entitlement/check-*.ts', { cwd: root })
    .flatMap((path) => [
      ...read(path).matchAll(/\bcheck(?: =|:) '([a-z-]+)'|Finding\('([a-z-]+)'/g),
    ])
    .map(([, one, other]) => one ?? other ?? '')
  const [, table = ''] = /\| clause \|([^]*?)\n\n/.exec(read('docs/contracts/source.md')) ?? []
  const explained = [...table.matchAll(/`([a-z-]+)`[^|`]*(?=[|,])/g)]
    .map(([, name = '']) => name)
    .filter((name) => named.includes(name))
  assert.ok(named.length > 10)
  assert.deepEqual(new Set(explained), new Set(named))
})
