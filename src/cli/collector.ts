/** What a server asks of V8's garbage collector. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Once all is loaded and before the ports open; takes some 30 ms.
 *
 * Gives back the memory that only starting needed: a quarter of what an idle server would otherwise hold for good, since V8 has no
 * reason to collect in a process that does nothing.
 *
 * With one core, from then on V8 marks in small steps on the thread that answers. Its four marking threads would take turns with it, an equal share
 * of the core for each: measured at a third of the load, requests then waited 40 to 180 ms in some seconds, and 15 to 35 ms without.
 *
 * The collector is reachable only through flags; where that ever changes, the server starts all the same, just larger and less steady.
 *
 * @param cores What this process may use: `os.availableParallelism`, which knows affinity and the limits of a container.
 */
export function settleCollector(cores: number): void {
  try {
    setFlagsFromString('--expose-gc')
    const collect: unknown = runInNewContext('gc')
    setFlagsFromString('--no-expose-gc')
    if (typeof collect !== 'function') return
    collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
    // Only here: nothing is being marked right after a collection, and a flag of V8 must not change while it is in use.
    if (cores === 1) setFlagsFromString('--no-concurrent-marking')
  } catch {
    // Nothing depends on it.
  }
}
