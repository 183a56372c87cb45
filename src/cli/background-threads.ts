import { readdirSync, readFileSync } from 'node:fs'
import { constants, setPriority } from 'node:os'

/** What V8 calls the threads that collect garbage and compile while the program runs. */
const BACKGROUND = 'V8Worker'
const OWN_THREADS = '/proc/self/task'

/**
 * Lets V8's background threads go last where they share a core with the event loop: with the same priority, marking after a burst of
 * allocations takes turns with requests, and holds each up for 30 to 60 ms. A thread may lower its own priority without any right.
 *
 * Linux only. Where it cannot be done the server runs all the same, with a longer tail.
 */
export function easeBackgroundThreads(): void {
  try {
    for (const thread of readdirSync(OWN_THREADS)) {
      const name = readFileSync(`${OWN_THREADS}/${thread}/comm`, 'utf8')
      if (name.startsWith(BACKGROUND)) setPriority(Number(thread), constants.priority.PRIORITY_LOW)
    }
  } catch {
    // Nothing depends on it.
  }
}
