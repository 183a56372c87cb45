import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Machine, refuseRisks, secureProcess } from './process-safety.ts'
import { CommandFailure } from './terminal.ts'

const FILTER = '/proc/self/coredump_filter'
const limits = (soft: string) =>
  `Limit                     Soft Limit           Hard Limit           Units     \nMax core file size        ${soft.padEnd(21)}unlimited            bytes     \n`

interface Fake extends Machine {
  readonly files: Map<string, string>
  readonly taken: string[]
}

/** A Linux on which everything is allowed, and core files are too. */
function fakeMachine(over: Partial<Machine> = {}): Fake {
  const files = new Map([
    [FILTER, '00000033\n'],
    ['/proc/self/limits', limits('unlimited')],
    ['/proc/sys/kernel/core_pattern', 'core\n'],
  ])
  const taken: string[] = []
  return {
    files,
    taken,
    platform: 'linux',
    execArgv: [],
    nodeOptions: undefined,
    inspectorUrl: undefined,
    read(path) {
      const text = files.get(path)
      if (text === undefined) throw new Error('ENOENT')
      return text
    },
    write: (path, text) => void files.set(path, text === '0\n' ? '00000000\n' : text),
    takeSignal: (signal) => void taken.push(signal),
    ...over,
  }
}

const unwritable = {
  write() {
    throw new Error('EACCES')
  },
}

const risksOf = (machine: Machine) => secureProcess(machine).map(({ what }) => what)

test('memory is left out of core dumps, and there is then nothing to complain of', () => {
  const machine = fakeMachine()
  assert.deepEqual(secureProcess(machine), [])
  assert.equal(machine.files.get(FILTER), '00000000\n')
})

test('a filter that cannot be written is a risk while core files are written, with the limit named', () => {
  const [risk] = secureProcess(fakeMachine(unwritable))
  assert.match(risk?.what ?? '', /core file \(limit: unlimited\)/)
  assert.match(risk?.mend ?? '', /ulimit -c 0/)
})

test('a filter that takes the write and keeps its value is a risk too', () => {
  assert.equal(secureProcess(fakeMachine({ write: () => undefined })).length, 1)
})

test('a filter that cannot be written is no risk where no core file is written', () => {
  const machine = fakeMachine(unwritable)
  machine.files.set('/proc/self/limits', limits('0'))
  assert.deepEqual(secureProcess(machine), [])
})

test('a limit of 0 does not help where core dumps are piped to a program', () => {
  const machine = fakeMachine(unwritable)
  machine.files.set('/proc/self/limits', limits('0'))
  machine.files.set('/proc/sys/kernel/core_pattern', '|/usr/lib/collector %P %u\n')
  const [risk] = secureProcess(machine)
  assert.match(risk?.what ?? '', /to \/usr\/lib\/collector$/)
})

test('without /proc the limit is unknown, which is a risk on Linux and not looked at elsewhere', () => {
  const machine = fakeMachine()
  machine.files.clear()
  const blind = { ...machine, ...unwritable }
  assert.match(risksOf(blind)[0] ?? '', /limit: unknown/)
  assert.deepEqual(secureProcess({ ...blind, platform: 'darwin' }), [])
})

test('an inspector is a risk, however it was opened', () => {
  const openings: readonly Partial<Machine>[] = [
    { inspectorUrl: 'ws://127.0.0.1:9229/x' },
    { execArgv: ['--inspect'] },
    { execArgv: ['--inspect-brk=0.0.0.0:9229'] },
    { nodeOptions: '--max-old-space-size=500 --inspect_wait' },
  ]
  for (const opening of openings)
    assert.match(risksOf(fakeMachine(opening)).join(), /inspector/, JSON.stringify(opening))
  assert.deepEqual(risksOf(fakeMachine({ execArgv: ['--inspect-port=0'] })), [])
})

test('diagnostic reports are a risk while they hold the environment', () => {
  for (const option of [
    '--report-on-signal',
    '--report_on_fatalerror',
    '--report-uncaught-exception',
  ]) {
    assert.match(risksOf(fakeMachine({ execArgv: [option] })).join(), /environment/, option)
    assert.deepEqual(
      risksOf(fakeMachine({ execArgv: [option], nodeOptions: '--report-exclude-env' })),
      [],
    )
  }
})

test('copies of the heap are a risk', () => {
  for (const option of ['--heapsnapshot-signal=SIGUSR2', '--heapsnapshot-near-heap-limit=1'])
    assert.match(risksOf(fakeMachine({ nodeOptions: option })).join(), /heap/, option)
})

test('production does not start with a risk and says how to mend it; dev warns', () => {
  const machine = fakeMachine({ execArgv: ['--inspect'] })
  const risks = secureProcess(machine)
  let said = ''
  const place = { machine, terminal: { stderr: (text: string) => void (said += text) } }

  assert.throws(
    () => refuseRisks(risks, 'production', place),
    (error) =>
      error instanceof CommandFailure && error.exit === 3 && /mend: start/.test(error.message),
  )
  assert.equal(said, '')
  refuseRisks(risks, 'dev', place)
  assert.match(
    said,
    /^warning\[process\/unsafe\]: .*inspector.*\n {2}mend: start without --inspect/,
  )
})

test('in production SIGUSR1 no longer opens the inspector of the running server', () => {
  const machine = fakeMachine()
  const place = { machine, terminal: { stderr: () => undefined } }
  refuseRisks([], 'dev', place)
  assert.deepEqual(machine.taken, [])
  refuseRisks([], 'production', place)
  assert.deepEqual(machine.taken, ['SIGUSR1'])
})
