/**
 * What lets a secret out of the memory of a running server without anybody breaking in: core dumps, the inspector, diagnostic
 * reports. A signing key was once stolen out of a crash dump that had left production (Microsoft, Storm-0558, 2023).
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { url as inspectorUrl } from 'node:inspector'
import { EXIT } from './exit-codes.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

/** What the check looks at and changes; tests give another. */
export interface Machine {
  readonly platform: NodeJS.Platform
  readonly execArgv: readonly string[]
  readonly nodeOptions: string | undefined
  /** Where a debugger may connect; undefined when none may. */
  readonly inspectorUrl: string | undefined
  /** Throws what `node:fs` throws. */
  read(path: string): string
  /** Throws what `node:fs` throws. */
  write(path: string, text: string): void
  /** Takes the signal, so that it no longer does what it does by default. */
  takeSignal(signal: NodeJS.Signals): void
}

/** One way out for secrets, and how to close it. */
export interface Risk {
  readonly what: string
  readonly mend: string
}

const FILTER = '/proc/self/coredump_filter'
const LIMITS = '/proc/self/limits'
const PATTERN = '/proc/sys/kernel/core_pattern'

/**
 * Keeps memory out of core dumps and looks for what else lets secrets out. To be called before any secret is read: what was
 * dumped before is beyond help.
 *
 * A dump that somebody with the rights of a debugger takes of the living process (`gcore`) is not kept from happening.
 */
export function secureProcess(machine: Machine): readonly Risk[] {
  return [dumpRisk(machine), inspectorRisk(machine), reportRisk(machine)].filter(
    (risk) => risk !== undefined,
  )
}

/**
 * Ends a server in profile `production` that has such a risk, and names it otherwise.
 *
 * @throws {CommandFailure} exit 3, its message every risk with its mend.
 */
export function refuseRisks(
  risks: readonly Risk[],
  profile: 'production' | 'dev',
  { machine, terminal }: { readonly machine: Machine; readonly terminal: Pick<Terminal, 'stderr'> },
): void {
  // SIGUSR1 opens the inspector of a running Node process; who may send signals need not be able to read its memory.
  if (profile === 'production') machine.takeSignal('SIGUSR1')
  if (risks.length === 0) return
  const severity = profile === 'production' ? 'error' : 'warning'
  const text = risks
    .map(({ what, mend }) => `${severity}[process/unsafe]: ${what}\n  mend: ${mend}\n`)
    .join('\n')
  if (profile === 'production') throw new CommandFailure(EXIT.configInvalid, text)
  terminal.stderr(text)
}

/** This process. */
export function thisMachine(): Machine {
  return {
    platform: process.platform,
    execArgv: process.execArgv,
    nodeOptions: process.env['NODE_OPTIONS'],
    inspectorUrl: inspectorUrl(),
    read: (path) => readFileSync(path, 'utf8'),
    // Never made anew: where there is no such file, there is nothing to set.
    write: (path, text) => writeFileSync(path, text, { flag: 'r+' }),
    takeSignal: (signal) => void process.on(signal, () => undefined),
  }
}

function dumpRisk(machine: Machine): Risk | undefined {
  // Elsewhere nothing can be found out or set from within; `up` on a developer's machine is not the place to say so.
  if (machine.platform !== 'linux') return undefined
  if (emptiesDumps(machine)) return undefined
  const pattern = attempt(() => machine.read(PATTERN).trim())
  // core(5): what is piped to a program is not held back by the limit.
  if (pattern?.startsWith('|')) {
    const what = `a crash would hand the signing keys to ${pattern.slice(1).split(' ', 1)[0]}`
    return { what, mend: `let this process write ${FILTER}` }
  }
  const limit = /^Max core file size +(\S+)/m.exec(attempt(() => machine.read(LIMITS)) ?? '')?.[1]
  if (limit === '0') return undefined
  return {
    what: `a crash would write the signing keys to a core file (limit: ${limit ?? 'unknown'})`,
    mend: `ulimit -c 0, LimitCORE=0 or --ulimit core=0; or let this process write ${FILTER}`,
  }
}

/** Leaves all memory out of core dumps of this process (core(5), since Linux 2.6.23). False where that cannot be done. */
function emptiesDumps(machine: Machine): boolean {
  return (
    attempt(() => {
      machine.write(FILTER, '0\n')
      // Read back, since this is what the promise rests on.
      return /^0+$/.test(machine.read(FILTER).trim())
    }) ?? false
  )
}

function inspectorRisk(machine: Machine): Risk | undefined {
  const option = optionsOf(machine).find((name) => /^--inspect(-brk|-wait)?$/.test(name))
  if (machine.inspectorUrl === undefined && option === undefined) return undefined
  return {
    what: 'whoever reaches the inspector of this process can read and run anything in it',
    mend: `start without ${option ?? '--inspect'}, also in NODE_OPTIONS`,
  }
}

function reportRisk(machine: Machine): Risk | undefined {
  const options = optionsOf(machine)
  const snapshot = options.find((name) => /^--heapsnapshot-|^--heap-prof$/.test(name))
  if (snapshot !== undefined)
    return {
      what: 'a copy of the heap, secrets included, would be written to a file',
      mend: `start without ${snapshot}, also in NODE_OPTIONS`,
    }
  const report = options.find((name) => /^--report-(on-|uncaught-)/.test(name))
  if (report === undefined || options.includes('--report-exclude-env')) return undefined
  return {
    what: 'a diagnostic report would hold the environment, where secrets may be',
    mend: `add --report-exclude-env, or start without ${report}, also in NODE_OPTIONS`,
  }
}

/** Names of the options that Node was started with; it takes `_` for `-`. */
function optionsOf({ execArgv, nodeOptions = '' }: Machine): readonly string[] {
  return [...execArgv, ...nodeOptions.split(/\s+/)].map((option) =>
    (option.replaceAll('"', '').split('=', 1)[0] ?? '').replaceAll('_', '-'),
  )
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
