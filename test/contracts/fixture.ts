import { test } from 'node:test'

/** Declares one promise of a port: a sentence, and what shows it. */
export type Promising<Fixture> = (
  sentence: string,
  check: (fixture: Fixture) => Promise<void>,
) => void

/** Each promise gets a fixture of its own, closed whatever comes of it. */
export function promiseOn<Fixture extends { close(): Promise<void> }>(
  open: () => Promise<Fixture>,
): Promising<Fixture> {
  return (sentence, check) => {
    test(sentence, async () => {
      const fixture = await open()
      try {
        await check(fixture)
      } finally {
        await fixture.close()
      }
    })
  }
}
