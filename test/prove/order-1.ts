/**
 * The promises of work order 1 ("Must show"), one proof for each, split where a line promises several things.
 *
 * `FILES` says where the suites are and `BENCH` which rows of the bench count: adjust them there.
 */
import { numberAt, type Proof, type ProofContext, type Verdict } from '../../tools/proof.ts'

const MINUTE = 60_000

const FILES = {
  twoCommands: ['test/e2e/two-commands.test.ts'],
  interop: ['test/e2e/clients-interop.test.ts'],
  wycheproof: ['test/conformance/wycheproof.test.ts'],
  attacks: ['test/security/*.test.ts'],
  rfc8693: ['test/conformance/rfc8693.test.ts'],
  decide: ['src/policy/*.test.ts'],
  preview: ['src/{policy,exchange}/*.test.ts', 'test/integration/*.test.ts'],
} as const

const KILL_LOOP = ['node', 'test/chaos/kill-loop.ts', '--kills'] as const

/**
 * Column "start" of the architecture's §10 by the bench's row ids. The limits stand here as well as in the bench, so that
 * neither is loosened alone.
 */
const BENCH: Readonly<Record<string, Limit>> = {
  core: { what: 'core exchange in process, share of the crypto bound', least: 0.65 },
  'full-path': { what: 'full path over HTTP, share of the crypto bound', least: 0.33 },
  'exchange-cold': { what: 'exchange against oidc-provider, cold', least: 2 },
  'exchange-warm': { what: 'exchange against oidc-provider, warm', least: 3 },
  'introspect-cold': { what: 'introspection against oidc-provider, cold', least: 1.3 },
  'introspect-warm': { what: 'introspection against oidc-provider, warm', least: 3 },
  'p99-at-50': { what: 'p99 at half load against a trivial server', most: 4 },
  'ledger-cost': { what: 'throughput that the durable ledger costs', most: 20 },
  'ledger-p99': { what: 'p99 of a ledger append at half load against that of fdatasync', most: 20 },
  'rss-idle': { what: 'memory when idle', most: 120 },
  'rss-loaded': { what: 'memory with 10 k users cached and 100 k live tokens', most: 300 },
  start: { what: 'start to first token, packages installed', most: 1.5 },
}

interface Limit {
  readonly what: string
  readonly least?: number
  readonly most?: number
}

/** The part of a row of the bench that is judged here. */
interface BenchRow {
  readonly id: string
  readonly figure?: number | null
  readonly unit: string
  readonly detail: string
}

/**
 * Seconds on a shared machine tell health from collapse and no more, so a quick run judges by limits four times as wide and says so;
 * only the full run judges the promise. A row that a quick run could not measure soundly is shown, not judged.
 */
const QUICK_SLACK = 4
/** Of a tail of seconds nothing can be said but that it is not a hang. */
const QUICK_TAIL_SLACK = 20

/** One row of the bench; the bench itself is run once for all of them. */
function benchRow({ json, quick }: ProofContext, id: string): Verdict {
  const command = ['node', 'bench/main.ts', '--json', ...(quick ? ['--quick'] : [])]
  const { rows } = json(command, 40 * MINUTE) as { readonly rows: readonly BenchRow[] }
  const row = rows.find((one) => one.id === id)
  const limit = BENCH[id]
  if (!row || !limit) return { ok: false, figure: `the bench has no row ${id}` }
  if (typeof row.figure !== 'number')
    return { ok: quick && row.detail.startsWith('void'), figure: row.detail }
  const quickSlack = id.includes('p99') ? QUICK_TAIL_SLACK : QUICK_SLACK
  const slack = quick ? quickSlack : 1
  const shown = `${Number(row.figure.toPrecision(3))} ${row.unit}`.trim()
  const { least = -Infinity, most = Infinity } = limit
  return {
    ok: row.figure * slack >= least && row.figure <= most * slack,
    figure: `${shown} (${quick ? 'sample; promised ' : ''}at ${limit.least === undefined ? `most ${most}` : `least ${least}`})`,
  }
}

/** A proof whose whole content is that certain tests are there and pass. */
function byTests(
  id: string,
  what: string,
  files: readonly string[],
  atLeast: number,
  name?: RegExp,
): Proof {
  const demand = { files, atLeast, ...(name === undefined ? {} : { name }) }
  return { id: `1.${id}`, what, run: ({ tests }) => tests(demand) }
}

export const proofs: readonly Proof[] = [
  // On a fresh clone, two commands.
  byTests(
    'start',
    'on a fresh clone npm start reaches a working curl exchange within 60 s, install included',
    FILES.twoCommands,
    1,
    /fresh clone/,
  ),
  {
    id: '1.test',
    what: 'on a fresh clone npm test passes',
    run({ json, quick }) {
      const unit = quick ? ['--unit'] : []
      const answer = json(['node', 'tools/fresh-clone.ts', ...unit], 45 * MINUTE)
      const passed = numberAt(answer, 'passed') ?? 0
      const seconds = numberAt(answer, 'seconds')
      return {
        ok: numberAt(answer, 'exitCode') === 0 && numberAt(answer, 'failed') === 0 && passed > 0,
        figure: `${passed} passed${quick ? ' (unit tests)' : ''} in ${seconds} s, install included`,
      }
    },
  },

  // Clients and verifiers that others wrote, unmodified.
  byTests(
    'oauth4webapi',
    'oauth4webapi discovers, exchanges, validates (RFC 9068) and introspects',
    FILES.interop,
    4,
    /^oauth4webapi (discovers|exchanges)/,
  ),
  byTests(
    'openid-client',
    'openid-client discovers, exchanges and introspects',
    FILES.interop,
    2,
    /^openid-client discovers, exchanges/,
  ),
  byTests(
    'client-key',
    'both exchange with private_key_jwt',
    FILES.interop,
    2,
    /exchanges with private_key_jwt/,
  ),
  byTests(
    'client-secret',
    'both exchange with a client secret',
    FILES.interop,
    2,
    /exchanges with .*secret/,
  ),
  // One for each of ES256, ES384, RS256, PS256 and EdDSA.
  byTests('verify-jose', 'the token verifies in jose', FILES.interop, 5, /^jose verifies/),
  byTests(
    'verify-jsonwebtoken',
    'the token verifies in jsonwebtoken',
    FILES.interop,
    5,
    /^jsonwebtoken verifies/,
  ),
  byTests(
    'verify-fast-jwt',
    'the token verifies in fast-jwt',
    FILES.interop,
    5,
    /^fast-jwt verifies/,
  ),
  byTests('verify-pyjwt', 'the token verifies in PyJWT', FILES.interop, 5, /^PyJWT verifies/),

  byTests(
    'wycheproof-jws',
    'all truly invalid Wycheproof JWS vectors are refused',
    FILES.wycheproof,
    1,
    /truly invalid signature vectors are refused/,
  ),
  byTests(
    'wycheproof-faults',
    'faults of vectors are listed by id with the reason',
    FILES.wycheproof,
    2,
    /^\d+ is refused: /,
  ),
  byTests(
    'wycheproof-jwe',
    'all Wycheproof JWE vectors are refused unparsed',
    FILES.wycheproof,
    1,
    /encryption vectors are refused unparsed/,
  ),

  byTests(
    'corpus',
    'bad-input corpus rows 1 to 60 at every door: exact code and status, no call out, no leak',
    FILES.attacks,
    300,
  ),

  byTests('rfc8693', 'each line of the RFC 8693 checklist is named by a test', FILES.rfc8693, 11),
  byTests(
    'rfc8693-errors',
    'error codes exactly as RFC 8693 section 2.2.2 says',
    FILES.rfc8693,
    1,
    /2\.2\.2/,
  ),

  byTests(
    'decide-roles',
    'decide never yields a role outside the ceiling and the mapped source roles',
    FILES.decide,
    1,
    /^property: no role outside ceiling/,
  ),
  byTests(
    'decide-session',
    'decide never yields exp beyond session_exp',
    FILES.decide,
    1,
    /^property: exp never passes session_exp/,
  ),
  byTests(
    'preview',
    'preview equals issue on 10,000 random cases',
    FILES.preview,
    1,
    /preview equals issue on 10,000/,
  ),

  {
    id: '1.kill-loop',
    what: 'killed under load, no token was ever answered whose ledger entry is missing',
    run({ json, quick }) {
      const wanted = quick ? 25 : 500
      const answer = json([...KILL_LOOP, String(wanted)], 60 * MINUTE)
      const [kills, acknowledged, missing] = ['kills', 'acknowledged', 'missing'].map((key) =>
        numberAt(answer, key),
      )
      return {
        // Nothing acknowledged means that nothing was at stake.
        ok: (kills ?? 0) >= wanted && (acknowledged ?? 0) > wanted && missing === 0,
        figure: `${missing} missing of ${acknowledged} tokens answered in ${kills} kills`,
      }
    },
  },

  ...Object.entries(BENCH).map(
    ([id, { what }]): Proof => ({
      id: `1.bench-${id}`,
      what,
      run: (context) => benchRow(context, id),
    }),
  ),
  {
    id: '1.files-touched',
    what: 'a warm exchange touches at most 32 files, and the conductor has at most 80 lines',
    run({ json }) {
      const answer = json(['node', 'tools/files-touched.ts', '--json'], 2 * MINUTE) as {
        ok?: unknown
      }
      const [files, functions, lines] = ['files', 'functions', 'conductorLines'].map((key) =>
        numberAt(answer, key),
      )
      return {
        ok: answer.ok === true,
        figure: `${files} files, ${functions} functions; conductor ${lines} lines`,
      }
    },
  },
]
