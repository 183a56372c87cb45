/** The promises of work order 3 ("Must show"), one proof for each, split where a line promises several things. */
import { figuresOf, numberAt, type Proof, type ProofContext } from '../../tools/proof.ts'

const MINUTE = 60_000

const quickly = ({ quick }: ProofContext): readonly string[] => (quick ? ['--quick'] : [])

/**
 * One figure of a program that measures overload, held against its promise in a full run. A quick one is a sample of seconds on a machine that may be
 * busy with something else: it holds it against what no noise explains.
 */
function measured(
  id: string,
  what: string,
  program: string,
  names: readonly string[],
  unit: string,
  bound: (quick: boolean) => { readonly atLeast?: number; readonly atMost?: number },
): Proof {
  return {
    id: `3.${id}`,
    what,
    run(context) {
      const command = ['node', `test/overload/${program}.ts`, '--json', ...quickly(context)]
      const values = figuresOf(
        context,
        command,
        names.map((name) => `byId.${name}`),
      )
      const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = bound(
        context.quick,
      )
      const [limit, word] =
        atMost === Number.POSITIVE_INFINITY ? [atLeast, 'at least'] : [atMost, 'at most']
      return {
        ok: values.every((value) => value >= atLeast && value <= atMost),
        figure: `${values.map((value) => value.toPrecision(3)).join(', ')}${unit} (${word} ${limit})`,
      }
    },
  }
}

export const proofs: readonly Proof[] = [
  {
    id: '3.fault-matrix',
    what: 'IdP, entitlement source, Vault, Valkey and store, each failing in eight ways, warm and cold: what is served, what is refused with which code, in what time, and how it heals',
    run(context) {
      const page = context.quick ? [] : ['--page', 'docs/promises.md']
      const command = ['node', 'test/chaos/fault-matrix.ts', ...quickly(context), ...page]
      const names = ['cells', 'wanted', 'passed', 'issued', 'slowestHealSeconds']
      const [cells = 0, wanted = 0, passed = 0, issued = 0, heal = 99] = figuresOf(
        context,
        command,
        names,
      )
      return {
        ok:
          cells === wanted && passed === cells && cells >= (context.quick ? 24 : 80) && issued > 0,
        figure: `${passed} of ${cells} cells kept, ${issued} tokens issued meanwhile; healed after ${heal} s at most`,
      }
    },
  },
  {
    id: '3.entitlement-cuts',
    what: 'a 3-page entitlement answer cut at every byte: the complete set, a permitted stale or limited set, or a refusal; never a partial one',
    run(context) {
      const command = ['node', 'test/chaos/entitlement-cuts.ts', ...quickly(context)]
      const names = ['cuts', 'complete', 'stale', 'limited', 'refused', 'partial']
      const [cuts = 0, complete = 0, stale = 0, limited = 0, refused = 0, partial = 1] = figuresOf(
        context,
        command,
        names,
      )
      return {
        ok: partial === 0 && cuts > (context.quick ? 100 : 2000) && refused > 0 && stale > 0,
        figure: `${partial} partial of ${cuts} cuts: ${complete} complete, ${stale} stale, ${limited} limited, ${refused} refused`,
      }
    },
  },
  {
    id: '3.one-look-up',
    what: '200 concurrent first requests of one user make one call of the source',
    run: ({ tests }) =>
      tests({
        files: ['test/integration/entitlement-failures.test.ts'],
        atLeast: 1,
        name: /two hundred first requests/,
      }),
  },
  {
    id: '3.forged-kids',
    what: 'forged key ids, up to 10,000 a second: one reading of the key set in each cooldown at most, and no good token refused',
    run(context) {
      const seconds = context.quick ? '12' : '40'
      const command = ['node', 'test/chaos/forged-kids.ts', '--seconds', seconds]
      const answer = context.json(command, 10 * MINUTE)
      const of = (name: string) =>
        ['inProcess', 'overHttp'].map((way) => numberAt(answer, `${way}.${name}`) ?? Number.NaN)
      const [forged, fetches, allowed, refused] = [
        of('forged'),
        of('fetches'),
        of('fetchesAllowed'),
        of('goodRefused'),
      ]
      return {
        ok:
          forged.every((count) => count > 1000) &&
          fetches.every((count, i) => count <= (allowed[i] ?? 0)) &&
          refused.every((count) => count === 0),
        figure: `${forged.join(' and ')} forged, ${fetches.join(' and ')} readings (at most ${allowed.join(' and ')}), ${refused.join(' and ')} good ones refused`,
      }
    },
  },
  {
    id: '3.retry-budget',
    what: 'with 10 % of the answers failing, and with all of them, callers who retry make no more than 1.1 calls of the source for each look-up',
    run(context) {
      const command = ['node', 'test/chaos/entitlement-storm.ts']
      const names = ['well.ratio', 'failing.ratio', 'bridged.ratio', 'dead.ratio']
      const ratios = figuresOf(context, command, names)
      return {
        ok: ratios.every((ratio) => ratio <= 1.1) && ratios[0] === 1,
        figure: `${ratios.map((ratio) => ratio.toFixed(3)).join(', ')} (well, 10 % failing, the same bridged by stale answers, dead)`,
      }
    },
  },
  {
    id: '3.idp-rotations',
    what: 'the IdP rotates under load, with overlap, without, and with a key id used again: no wrong accept, and the first token under the new key succeeds within one reading',
    run(context) {
      const wanted = context.quick ? 12 : 200
      const command = ['node', 'test/chaos/idp-rotations.ts', '--rotations', String(wanted)]
      const names = ['rotations', 'wrongAccepts', 'refusedGood', 'firstByOneFetch', 'issued']
      const [rotations = 0, wrong = 1, refused = 1, first = 0, issued = 0] = figuresOf(
        context,
        command,
        names,
      )
      return {
        ok:
          rotations >= wanted && wrong === 0 && refused === 0 && first === rotations && issued > 0,
        figure: `${wrong} wrong accepts, ${refused} good ones refused in ${rotations} rotations; ${first} first tokens by one reading, ${issued} issued`,
      }
    },
  },
  measured(
    'goodput-5x',
    'goodput at five times the capacity, as a share of the peak',
    'run',
    ['goodput-5x'],
    '',
    (quick) => ({ atLeast: quick ? 0.35 : 0.7 }),
  ),
  measured(
    'goodput-2x',
    'goodput at twice the capacity, as a share of the peak',
    'run',
    ['goodput-2x'],
    '',
    (quick) => ({ atLeast: quick ? 0.5 : 0.9 }),
  ),
  measured(
    'accepted-p99',
    'p99 of what is accepted at 2 and 5 times the capacity, over its value at 70 %',
    'run',
    ['p99-2x', 'p99-5x'],
    '×',
    (quick) => ({ atMost: quick ? 20 : 3 }),
  ),
  measured(
    'overload-recovery',
    'seconds until goodput and latency are normal after each storm',
    'run',
    ['recovery'],
    ' s',
    (quick) => ({ atMost: quick ? 10 : 5 }),
  ),
  measured(
    'overload-memory',
    'memory at up to ten times the capacity',
    'run',
    ['memory'],
    ' MB',
    (quick) => ({ atMost: quick ? 600 : 450 }),
  ),
  measured(
    'overload-vital',
    'health, key sets and introspection that got no answer within a second at up to ten times the capacity',
    'run',
    ['vital'],
    '',
    (quick) => ({ atMost: quick ? 3 : 0 }),
  ),
  measured(
    'fairness',
    'p99 of a quiet tenant while another has been at ten times its limit for a second, over its value without',
    'fairness',
    ['fairness-limited'],
    '×',
    (quick) => ({ atMost: quick ? 6 : 1.2 }),
  ),
  measured(
    'slow-clients',
    'p99 while slowhttptest holds 1,000 slow connections (headers, bodies, reading), over its value without',
    'slow',
    ['slow-headers', 'slow-body', 'slow-read'],
    '×',
    (quick) => ({ atMost: quick ? 6 : 1.2 }),
  ),
  {
    id: '3.clock-jumps',
    what: 'the clock of a server jumps by 1 s to 10 years under load: no expired subject token is accepted, and no token lives longer than it may',
    run(context) {
      const jumps = context.quick ? 6 : 50
      const command = ['node', 'test/chaos/clock-jumps.ts', '--jumps', String(jumps), '--seed', '7']
      const none = ['expiredAccepted', 'futureAccepted', 'overlong', 'ahead', 'deadActive']
      const wrong = figuresOf(context, command, none)
      const names = ['jumps', 'issued', 'attacks', 'resumeSecondsMax']
      const [done = 0, issued = 0, attacks = 0, resume = 99] = figuresOf(context, command, names)
      return {
        ok: done >= jumps && wrong.every((count) => count === 0) && issued > done && attacks > done,
        figure: `${wrong.join(', ')} expired or future ones accepted, over-long, ahead or dead ones active, of ${attacks} attacks in ${done} jumps; ${issued} issued, again after ${resume} s at most`,
      }
    },
  },
  {
    id: '3.contracts',
    what: 'what rolemint expects of an IdP and of an entitlement source is checked: oidc-provider, oauth2-mock-server, Keycloak and the demo source keep it, and each misbehaviour is found',
    run: ({ tests }) =>
      tests({
        files: ['test/contracts/idp.test.ts', 'test/contracts/source-*.test.ts'],
        atLeast: 12,
      }),
  },
]
