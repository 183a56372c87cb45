import { readFileSync } from 'node:fs'

/** Linux counts CPU time of processes in hundredths of a second (`getconf CLK_TCK`), so measure over a second or more. */
const MICROS_PER_TICK = 10_000

/**
 * CPU time of a process so far, user and system, all threads, in microseconds, read from outside: any server can be
 * measured unmodified.
 *
 * @throws {Error} when there is no such process.
 */
export function cpuMicros(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The second field is a command name in brackets, which may itself hold spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [user, system] = [fields[11], fields[12]]
  return (Number(user) + Number(system)) * MICROS_PER_TICK
}

/** Resident memory of a process now, in MB (10^6 bytes). @throws {Error} when there is no such process. */
export function residentMegabytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
  if (kibibytes === undefined) throw new Error(`process ${pid} has no resident memory`)
  return (Number(kibibytes) * 1024) / 1e6
}

/**
 * Time a core was not idle since boot, in microseconds, whoever used it; also what the hypervisor gave to somebody
 * else. @throws {Error} when there is no such core.
 */
export function coreMicros(core: number): number {
  const line = new RegExp(`^cpu${core} (.+)$`, 'm').exec(readFileSync('/proc/stat', 'latin1'))?.[1]
  if (line === undefined) throw new Error(`there is no core ${core}`)
  const [user, nice, system, , , irq, softirq, steal] = line.split(' ').map(Number)
  return [user, nice, system, irq, softirq, steal].reduce<number>(
    (sum, ticks) => sum + (ticks ?? 0) * MICROS_PER_TICK,
    0,
  )
}
