/**
 * A real server whose wall clock is set to and fro under load, by libfaketime; what it issues and accepts is judged by the true time.
 * Its monotonic clock is left alone, as it is on a real machine whose date somebody sets.
 */
import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { jwksOf } from '../fakes/jwt.ts'
import { at } from '../fakes/sts.ts'
import type { Part } from '../skip.ts'
import { type ClockProbe, type ClockTally, createClockProbe, newClockKey } from './clock-probe.ts'
import { type OnDisk, writeDeployment } from './deployment.ts'
import { bareEnvironment, type Served, startServing } from './processes.ts'

/** Not the build for threads: it takes a lock to read the clock, and a child that is forked while another thread holds it never gets on. */
export const faketime: Part<string> = {
  name: 'libfaketime',
  mend: 'On Debian: apt-get install faketime.',
  find() {
    const folders = ['x86_64-linux-gnu', 'aarch64-linux-gnu'].map((arch) => `/usr/lib/${arch}`)
    const places = [...folders, '/usr/lib', '/usr/local/lib'].map((folder) =>
      join(folder, 'faketime/libfaketime.so.1'),
    )
    const found = places.find((place) => existsSync(place))
    return found ? { found } : { missing: 'there is no libfaketime.so.1' }
  },
}

/** What the jumps came to. */
export interface ClockReport extends ClockTally {
  readonly jumps: number
  /** Longest time from a jump until tokens were issued again. */
  readonly resumeSecondsMax: number
  /** Jumps after which nothing was issued before the next one. */
  readonly jumpsWithoutIssue: number
  readonly seed: number
  readonly seconds: number
}

const MINUTE = 60
const HOUR = 3600
const DAY = 24 * HOUR
const YEAR = 365 * DAY
/** How far the clock is set off: from what NTP might do to what nobody would. */
const SIZES = [1, MINUTE, HOUR, DAY, 10 * YEAR] as const
const MOST_TRIES_MILLISECONDS = 15_000

/** Sets the clock of a server `jumps` times. */
export async function jumpClocks(options: {
  readonly library: string
  readonly jumps: number
  readonly seed: number
  readonly log?: (line: string) => void
}): Promise<ClockReport> {
  const { jumps, seed, library } = options
  const began = performance.now()
  const idpKey = newClockKey()
  const disk = await writeDeployment((tree) => {
    at(tree, 'tenants.acme.idps.login')['jwks'] = jwksOf(idpKey)
    tree['limits'] = { skew: '5s' }
  })
  const random = seeded(seed)
  let server: Served | undefined
  try {
    const clock = fakeClock(disk)
    clock.set(0)
    server = await startServing(disk.configFile, { env: clock.environment(library) })
    const probe = createClockProbe({ url: server.url, basic: disk.basic, idpKey })
    const load = probe.load()
    let resumeSecondsMax = 0
    let jumpsWithoutIssue = 0
    for (let jump = 0; jump < jumps; jump += 1) {
      // Every size in both directions, from wherever the last jump left the clock; every fifth sets it right.
      const size = SIZES[Math.floor(jump / 2) % SIZES.length] ?? 1
      const offset = jump % 5 === 4 ? 0 : (jump % 2 === 0 ? size : -size) * (0.5 + random() / 2)
      clock.set(offset)
      await sleep(20 + random() * 80) // some probes at once, some when the jump was noticed
      await probe.attack()
      const seconds = await untilIssued(probe)
      if (seconds === undefined) jumpsWithoutIssue += 1
      else resumeSecondsMax = Math.max(resumeSecondsMax, seconds)
      await probe.attack()
      if (jump % 50 === 49) options.log?.(`${jump + 1} jumps: ${JSON.stringify(probe.tally())}`)
    }
    // However few jumps there were: a token of ours that has died, shown to a server whose clock is back before its death.
    await probe.untilDead()
    clock.set(-HOUR)
    await untilIssued(probe)
    await probe.attack()
    clock.set(0)
    await load.stop()
    await probe.close()
    return {
      jumps,
      ...probe.tally(),
      resumeSecondsMax: round(resumeSecondsMax),
      jumpsWithoutIssue,
      seed,
      seconds: round((performance.now() - began) / 1000),
    }
  } finally {
    server?.kill('SIGKILL')
    await server?.ended
    await disk.close()
  }
}

/** What is wrong with a report, as sentences. */
export function clockFaults(report: ClockReport): string[] {
  const faults: string[] = []
  const none = (count: number, what: string) => {
    if (count > 0) faults.push(`${count} ${what}`)
  }
  none(report.expiredAccepted, 'expired subject tokens were accepted')
  none(report.futureAccepted, 'subject tokens from the future were accepted')
  none(report.overlong, 'tokens were issued that live too long')
  none(report.ahead, 'tokens were issued with an iat of more than 2 s ahead')
  none(report.deadActive, 'expired tokens of ours were called active')
  none(
    report.unexpected.length,
    `answers of another kind: ${report.unexpected.slice(0, 5).join('; ')}`,
  )
  none(report.jumpsWithoutIssue, 'jumps after which nothing was issued any more')
  if (report.issued < report.jumps) faults.push(`only ${report.issued} tokens were issued`)
  if (report.deadShown === 0) faults.push('no dead token was shown: the run was too short')
  if (report.attacks < report.jumps) faults.push(`only ${report.attacks} attacks were made`)
  return faults
}

/** Seconds until a token was issued that was asked for now; undefined when none was. */
async function untilIssued(probe: ClockProbe): Promise<number | undefined> {
  const began = performance.now()
  while (performance.now() - began < MOST_TRIES_MILLISECONDS) {
    if (await probe.exchange()) return (performance.now() - began) / 1000
    await sleep(50)
  }
  return undefined
}

/** The file that libfaketime reads its offset from, at every look at the clock. */
function fakeClock({ folder }: OnDisk) {
  const file = join(folder, 'clock')
  return {
    set(seconds: number) {
      // Whole or not at all: half an offset would be another one.
      writeFileSync(`${file}.new`, `${seconds < 0 ? '' : '+'}${seconds.toFixed(3)}\n`)
      renameSync(`${file}.new`, file)
    },
    environment: (library: string) =>
      bareEnvironment({
        LD_PRELOAD: library,
        FAKETIME_TIMESTAMP_FILE: file,
        FAKETIME_NO_CACHE: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      }),
  }
}

/** The same numbers for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const round = (value: number) => Math.round(value * 1000) / 1000
