import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { CommanderError } from 'commander'
import { machineFiles } from '../config/files.ts'
import { keysCommand } from './keys.ts'
import type { Screen } from './keys-screen.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

const DAY = 86_400_000
const iso = (daysFromNow: number) => new Date(Date.now() + daysFromNow * DAY).toISOString()

const SIGNING = `sign${'S'.repeat(39)}`
const NEXT = `next-a${'N'.repeat(37)}`
const SPARE = `next-b${'P'.repeat(37)}`
const FORMER = `form${'F'.repeat(39)}`

function ring() {
  const key = { alg: 'ES256', created_at: iso(-20), reason: 'scheduled rotation' }
  return {
    tenant: 'acme',
    version: 4,
    keys: [
      {
        ...key,
        kid: FORMER,
        state: 'verify-only',
        published_at: iso(-40),
        activated_at: iso(-35),
        verify_only_at: iso(-5),
        sign_until: iso(-4),
        retirable_from: iso(1),
      },
      {
        ...key,
        kid: SIGNING,
        state: 'active',
        published_at: iso(-20),
        activated_at: iso(-5),
        due_at: iso(25),
        sign_until: iso(26),
        signatures: 1240,
        last_signed_at: iso(0),
      },
      {
        ...key,
        kid: NEXT,
        state: 'published',
        published_at: iso(-5),
        activatable_from: iso(-4),
        seen_by_all: false,
      },
      { ...key, kid: SPARE, state: 'published', published_at: iso(-5), activatable_from: iso(-4) },
    ],
  }
}

type Reply = { readonly status?: number; readonly body: unknown }
interface Asked {
  readonly method: string
  readonly path: string
  readonly body: unknown
}

/** Runs `keys …` against an admin API that answers as told, by method and path. */
async function run(
  line: readonly string[],
  replies: Readonly<Record<string, Reply>> = {},
  given: Partial<Screen> & { readonly env?: Record<string, string> } = {},
) {
  const said = { out: '', err: '', exit: 0, asked: [] as Asked[], questions: [] as string[] }
  const usual: Readonly<Record<string, Reply>> = {
    'GET /keys': { body: ring() },
    'GET /keys/consumers': { body: { consumers: [] } },
  }
  const terminal: Terminal = {
    stdout: (text) => void (said.out += text),
    stderr: (text) => void (said.err += text),
    env: { ROLEMINT_ADMIN_TOKEN: 'rma_x', ...given.env },
    files: machineFiles,
    exit: (code) => void (said.exit = code),
    readStdin: () => Promise.resolve(''),
    readFile: (path) => {
      throw new CommandFailure(2, `cannot read ${path}`)
    },
    fetch(input, init) {
      const path = new URL(input instanceof Request ? input.url : input).pathname.replace(
        '/admin/v1',
        '',
      )
      const method = init?.method ?? 'GET'
      const body: unknown = typeof init?.body === 'string' ? JSON.parse(init.body) : undefined
      said.asked.push({ method, path, body })
      const reply = replies[`${method} ${path}`] ?? usual[`${method} ${path}`]
      if (!reply) return Promise.reject(new Error(`nobody answers ${method} ${path}`))
      return Promise.resolve(Response.json(reply.body, { status: reply.status ?? 200 }))
    },
  }
  const { ask } = given
  const screen: Screen = {
    columns: given.columns,
    ask:
      ask &&
      ((question) => {
        said.questions.push(question)
        return ask(question)
      }),
  }
  const command = keysCommand(terminal, screen)
  for (const below of command.commands)
    below.exitOverride().configureOutput({ writeErr: (text) => void (said.err += text) })
  try {
    const [verb = '', ...rest] = line
    await command.parseAsync([verb, '--tenant', 'acme', ...rest], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return { ...said, exit: 2 }
    if (!(error instanceof CommandFailure)) throw error
    said.exit = error.exit
    said.err += error.message
  }
  return said
}

const killed = (consumers: object[] = []) => {
  const { keys, ...rest } = ring()
  const after = keys.map((key) => {
    if (key.kid === SIGNING) return { ...key, state: 'compromised', compromised_at: iso(0) }
    return key.kid === NEXT ? { ...key, state: 'active', activated_at: iso(0) } : key
  })
  return {
    [`POST /keys/${SIGNING}/kill`]: { body: { ...rest, keys: after } },
    'GET /keys/consumers': { body: { consumers } },
  }
}

const promoted = (kid: string) => ({ [`POST /keys/${kid}/promote`]: { body: ring() } })
const promote = (kid: string, replies = {}) => run(['promote', kid, '--reason', 'INC-42'], replies)

const kill = (more: readonly string[], replies = {}, given = {}) =>
  run(['kill', SIGNING.slice(0, 8), '--reason', 'INC-42', ...more], replies, given)

const typing = (text: string) => ({ ask: () => Promise.resolve(text) })

suite('keys list', () => {
  test('says of each key what it is, what comes next and how much it signed', async () => {
    const { out } = await run(['list'])
    const rows = out.split('\n')
    assert.match(rows[0] ?? '', /^KID +ALG +STATE +SINCE +NEXT +SIGNED +LAST SIGNED +REASON$/)
    assert.match(rows[1] ?? '', /verify-only .* leaves JWKS \d{4}-/)
    assert.match(rows[2] ?? '', /active .* gives way \d{4}-.* 1240 .*scheduled rotation/)
    assert.match(rows[3] ?? '', /published .* may sign \d{4}-.*not yet fetched by all/)
    assert.doesNotMatch(rows[4] ?? '', /not yet fetched/)
  })

  test('as JSON it is what the server said', async () => {
    assert.deepEqual(JSON.parse((await run(['list', '-o', 'json'])).out).keys.length, 4)
  })

  test('control characters in a reason do not reach the terminal', async () => {
    const facts = ring()
    const keys = facts.keys.map((key) => ({ ...key, reason: 'x\u001b[2Jy' }))
    const { out } = await run(['list'], { 'GET /keys': { body: { ...facts, keys } } })
    assert.ok(!out.includes('\u001b'))
  })

  test('an answer of another shape is said to be one, and not shown', async () => {
    const { exit, out } = await run(['list'], { 'GET /keys': { body: { keys: [{ kid: 1 }] } } })
    assert.deepEqual([exit, out], [1, ''])
  })
})

suite('a kid on the command line', () => {
  test('may be its beginning, and the whole of it is what is sent', async () => {
    const { exit, asked } = await promote('next-a', promoted(NEXT))
    assert.equal(exit, 0)
    assert.deepEqual(asked.at(-1), {
      method: 'POST',
      path: `/keys/${NEXT}/promote`,
      body: { tenant: 'acme', reason: 'INC-42' },
    })
  })

  test('of fewer than six characters, or of several keys, exits 2 and changes nothing', async () => {
    const facts = ring()
    const twin = { ...facts.keys[2], kid: `next-a${'Z'.repeat(37)}` }
    const both = { 'GET /keys': { body: { ...facts, keys: [...facts.keys, twin] } } }
    for (const [kid, replies] of [
      ['sign', promoted(SIGNING)],
      ['next-a', both],
    ] as const) {
      const { exit, asked } = await promote(kid, { ...replies, ...promoted(NEXT) })
      assert.equal(exit, 2)
      assert.ok(asked.every(({ method }) => method === 'GET'))
    }
    const { err } = await promote('next-a', both)
    assert.ok(err.includes(NEXT) && err.includes(twin.kid))
  })

  test('that no key has exits 5', async () => {
    assert.equal((await promote('nobody-has-it')).exit, 5)
  })

  test('needs a reason beside it', async () => {
    for (const verb of ['promote', 'retire', 'kill', 'rotate']) {
      const { exit, asked } = await run([verb, ...(verb === 'rotate' ? [] : [NEXT])])
      assert.deepEqual([exit, asked], [2, []], verb)
    }
  })

  test('that the ring does not allow to change now exits 9 with the reason', async () => {
    const { exit, err } = await promote(NEXT, {
      [`POST /keys/${NEXT}/promote`]: { status: 409, body: { detail: 'Too early.' } },
    })
    assert.deepEqual([exit, err], [9, 'Too early.'])
  })

  test('may begin with a dash after --', async () => {
    const kid = `-dash-${'D'.repeat(37)}`
    const facts = ring()
    const keys = [...facts.keys, { ...facts.keys[2], kid }]
    const { asked } = await run(['retire', '--reason', 'INC-42', '--', kid.slice(0, 6)], {
      'GET /keys': { body: { ...facts, keys } },
      [`POST /keys/${kid}/retire`]: { body: ring() },
    })
    assert.equal(asked.at(-1)?.path, `/keys/${kid}/retire`)
  })
})

suite('keys kill', () => {
  test('says which key signs now, and which verifiers may accept the killed one until when', async () => {
    const until = iso(1)
    const consumer = {
      consumer: 'orders-api',
      fetches: 3,
      kids: [SIGNING],
      keeps_seconds: 86_400,
      lacks: [],
      exposed: [{ kid: SIGNING, until }],
    }
    const replies = killed([consumer, { ...consumer, consumer: 'billing', exposed: [] }])
    const { exit, out, err } = await kill(['--yes'], replies)
    assert.equal(exit, 0)
    assert.match(out, new RegExp(`^killed +${SIGNING}$`, 'm'))
    assert.match(out, new RegExp(`^signs now +${NEXT}$`, 'm'))
    assert.match(out, /^may still accept it +orders-api, until \d{4}-/m)
    assert.doesNotMatch(out, /billing/)
    assert.match(out, /^introspection +denies/m)
    assert.match(err, /never name themselves/)

    const facts = JSON.parse((await kill(['--yes', '-o', 'json'], replies)).out)
    assert.deepEqual(facts.exposed, [{ consumer: 'orders-api', until }])
    assert.deepEqual([facts.killed, facts.signs_now], [SIGNING, NEXT])
  })

  test('without --yes and without a terminal it does nothing and exits 2', async () => {
    const { exit, asked, err } = await kill([], killed())
    assert.equal(exit, 2)
    assert.match(err, /--yes/)
    assert.ok(asked.every(({ method }) => method === 'GET'))
  })

  test('at a terminal the name of the tenant must be typed', async () => {
    const wrong = await kill([], killed(), typing('yes'))
    assert.equal(wrong.exit, 2)
    assert.ok(wrong.asked.every(({ method }) => method === 'GET'))
    assert.match(wrong.questions[0] ?? '', new RegExp(`${SIGNING} \\(1240 signatures\\)`))
    const right = await kill([], killed(), typing('acme\n'))
    assert.equal(right.exit, 0)
    assert.equal(right.asked.filter(({ method }) => method === 'POST').length, 1)
  })

  test('a census that does not answer does not make a kill look as if it had failed', async () => {
    const replies = { ...killed(), 'GET /keys/consumers': { status: 503, body: {} } }
    const { exit, out, err } = await kill(['--yes'], replies)
    assert.equal(exit, 0)
    assert.match(out, /^killed /m)
    assert.match(err, /could not be asked/)
  })

  test('where nothing signs afterwards, that is said', async () => {
    const { keys, ...rest } = ring()
    const after = keys.map((key) => (key.kid === SIGNING ? { ...key, state: 'compromised' } : key))
    const { out, err } = await kill(['--yes'], {
      [`POST /keys/${SIGNING}/kill`]: { body: { ...rest, keys: after } },
    })
    assert.match(out, /^signs now +no key/m)
    assert.match(err, /exchanges are refused/)
  })

  test('a role that may not exits 4', async () => {
    const reply = { status: 403, body: { detail: 'This needs the role security or a higher one.' } }
    const { exit, err } = await kill(['--yes'], { [`POST /keys/${SIGNING}/kill`]: reply })
    assert.equal(exit, 4)
    assert.match(err, /role security/)
  })
})

suite('keys timeline', () => {
  test('draws a line for each key, no wider than the terminal, with now in the same column', async () => {
    for (const columns of [72, 100, 160]) {
      const { out } = await run(['timeline'], {}, { columns })
      const rows = out.split('\n')
      assert.ok(
        rows.every(({ length }) => length <= columns),
        String(columns),
      )
      const drawn = rows.slice(1, 5)
      assert.equal(new Set(drawn.map((row) => row.indexOf('│'))).size, 1)
      assert.match(drawn[0] ?? '', /^formFFFF +ES256 +verify-only +░+█+▒+│▒*$/)
      assert.match(drawn[1] ?? '', /^signSSSS +ES256 +active +░+█+│█+▒*$/)
      assert.match(drawn[2] ?? '', /^next-aNN +ES256 +published +░+│$/)
    }
  })

  test('is plain ASCII where no terminal is, and with NO_COLOR', async () => {
    for (const given of [{}, { columns: 100, env: { NO_COLOR: '1' } }]) {
      const { out } = await run(['timeline'], {}, given)
      assert.match(out, /^[\n -~]+$/)
      assert.match(out, /signSSSS +ES256 +active +-+=+\|=+/)
    }
  })

  test('a key that was killed ends with a mark, and what was gone before is counted only', async () => {
    const facts = ring()
    const dead = { ...facts.keys[1], kid: `dead${'D'.repeat(39)}`, state: 'compromised' }
    const old = {
      ...facts.keys[0],
      kid: `old-${'O'.repeat(39)}`,
      state: 'retired',
      verify_only_at: iso(-360),
    }
    const keys = [
      ...facts.keys,
      { ...dead, activated_at: iso(-15), compromised_at: iso(-10) },
      { ...old, published_at: iso(-400), activated_at: iso(-390), retired_at: iso(-300) },
    ]
    const { out } = await run(['timeline'], { 'GET /keys': { body: { ...facts, keys } } })
    assert.match(out, /^deadDDDD .*=+x/m)
    assert.doesNotMatch(out, /^old-/m)
    assert.match(out, /^1 more/m)
  })

  test('as JSON it has spans and times', async () => {
    const { out } = await run(['timeline', '-o', 'json'])
    const { keys } = JSON.parse(out)
    assert.deepEqual(
      keys[0].spans.map(({ state }: { state: string }) => state),
      ['published', 'active', 'verify-only'],
    )
    assert.equal(keys[0].spans[0].to, keys[0].spans[1].from)
  })
})

suite('keys consumers', () => {
  test('says who has what, who is behind, and who may accept a killed key', async () => {
    const consumers = [
      {
        consumer: 'orders-api',
        last_fetch_at: iso(0),
        fetches: 7,
        kids: [SIGNING],
        keeps_seconds: 86_400,
        lacks: [NEXT],
        exposed: [{ kid: FORMER, until: iso(1) }],
      },
      { consumer: 'hr', fetches: 0, kids: [], keeps_seconds: 43_500, lacks: [], exposed: [] },
    ]
    const { out } = await run(['consumers'], { 'GET /keys/consumers': { body: { consumers } } })
    assert.match(out, /^orders-api .* 7 +signSSSS +next-aNN +1d +formFFFF until \d{4}-/m)
    assert.match(out, /^hr +never +0 .*725m$/m)
  })

  test('without any configured, it says where to name them', async () => {
    assert.match((await run(['consumers'])).err, /tenants\.acme\.consumers/)
  })
})
