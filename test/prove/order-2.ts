/** The promises of work order 2 ("Must show"), one proof for each, split where a line promises several things. */
import { figuresOf, numberAt, type Proof } from '../../tools/proof.ts'

const MINUTE = 60_000

const FILES = {
  simulator: ['test/simulation/key-ring.test.ts'],
  bootMatrix: ['test/integration/boot-matrix.test.ts'],
  unsafe: ['src/config/rules/keys.test.ts'],
  privateKeys: ['test/security/private-keys.test.ts'],
  coreDump: ['test/e2e/process-safety.test.ts'],
} as const

/** A proof whose whole content is that certain tests are there and pass. */
function byTests(
  id: string,
  what: string,
  files: readonly string[],
  atLeast: number,
  name: RegExp,
): Proof {
  return { id: `2.${id}`, what, run: ({ tests }) => tests({ files, atLeast, name }) }
}

export const proofs: readonly Proof[] = [
  {
    id: '2.histories',
    what: 'three replicas with crashes, stale reads, clocks off by 60 s and races keep every invariant of the key ring',
    run(context) {
      const wanted = context.quick ? 500 : 10_000
      const command = ['node', 'test/simulation/histories.ts', '--histories', String(wanted)]
      const [histories = 0, breaches = 1, signatures = 0] = figuresOf(context, command, [
        'histories',
        'breaches',
        'signatures',
      ])
      return {
        ok: histories >= wanted && breaches === 0 && signatures > histories,
        figure: `${breaches} breaches in ${histories} histories, ${signatures} signatures`,
      }
    },
  },
  byTests('planted-bugs', 'a bug planted in each guard is found', FILES.simulator, 8, /^planted: /),
  {
    id: '2.rotations',
    what: 'accelerated rotations under load: five kinds of real verifiers that cache JWKS to max-age refuse no token',
    run(context) {
      const wanted = context.quick ? 40 : 1000
      const command = ['node', 'test/chaos/rotation-run.ts', '--rotations', String(wanted)]
      const [rotations = 0, verifications = 0, failed = 1, kinds = 0] = figuresOf(
        context,
        command,
        ['rotations', 'verifications', 'failed', 'kinds'],
      )
      return {
        ok: rotations >= wanted && verifications > rotations && failed === 0 && kinds >= 5,
        figure: `${failed} failed of ${verifications} verifications by ${kinds} kinds in ${rotations} rotations`,
      }
    },
  },
  {
    id: '2.key-store-faults',
    what: 'OpenBao killed, stopped, sealed, or answering 403, 429, 500, garbage or nothing under load: no exchange fails, the alarm comes within 30 s, and all is well again without a restart',
    run(context) {
      const command = ['node', 'test/chaos/key-faults.ts', '--seconds', context.quick ? '2' : '30']
      const [faults = 0, issued = 0, failed = 1, alarm = 99, recovery = 99] = figuresOf(
        context,
        command,
        ['faults', 'issued', 'failed', 'slowestAlarmSeconds', 'slowestRecoverySeconds'],
      )
      return {
        ok: faults >= 8 && issued > 0 && failed === 0 && alarm <= 30 && recovery <= 60,
        figure: `${failed} failed of ${issued} in ${faults} faults; alarm ≤ ${alarm.toFixed(1)} s, well again ≤ ${recovery.toFixed(1)} s`,
      }
    },
  },
  byTests(
    'boot-matrix',
    'a start with a key store that is down, sealed, slow, answers 403 or is of an old version, with each state of the boot cache',
    FILES.bootMatrix,
    20,
    /^with a key store that is /,
  ),
  {
    id: '2.kill-drill',
    what: 'kill drill, three replicas on PostgreSQL and OpenBao: last bad signature, JWKS clean, introspection denies, first good token, each within 5 s',
    run(context) {
      const names = [
        'last_bad_signature',
        'jwks_clean',
        'introspection_denies',
        'good_tokens_everywhere',
      ]
      const answer = context.json(['node', 'test/chaos/kill-drill.ts'], 10 * MINUTE)
      // No bad signature after the command is the best there is.
      const seconds = names.map((name) => numberAt(answer, name) ?? 0)
      const [bad = 0, jwks = 99, denied = 99, good = 99] = seconds
      return {
        ok:
          numberAt(answer, 'replicas') === 3 &&
          jwks > 0 &&
          denied > 0 &&
          good > 0 &&
          Math.max(...seconds) <= 5,
        figure: `last bad signature ${bad} s, JWKS clean ${jwks} s, introspection denies ${denied} s, good tokens ${good} s`,
      }
    },
  },
  byTests(
    'unsafe-configs',
    'unsafe key configurations are refused at load with line and mend',
    FILES.unsafe,
    15,
    /./,
  ),
  byTests(
    'private-keys',
    'private key bytes are in no log, answer, metric, environment, database file or heap snapshot',
    FILES.privateKeys,
    2,
    /./,
  ),
  byTests('core-dump', 'a core dump holds no key by default', FILES.coreDump, 1, /core/),
  {
    id: '2.bench-transit',
    what: 'the bench shows what signing by Transit costs beside signing here',
    run(context) {
      const quick = context.quick ? ['--quick'] : []
      const command = ['node', 'bench/main.ts', '--transit', '--json', ...quick]
      const answer = context.json(command, 40 * MINUTE)
      const { rows } = answer as {
        rows: readonly { id: string; figure?: number; detail: string }[]
      }
      const row = rows.find(({ id }) => id === 'transit-alone')
      return {
        ok: typeof row?.figure === 'number' && row.figure > 0,
        figure: row
          ? `${row.figure?.toPrecision(3)}× a local signature; ${row.detail}`
          : 'no such row',
      }
    },
  },
]
