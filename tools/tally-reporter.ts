/**
 * A reporter for node:test that writes one JSON line a test: what `npm test` needs to list skipped suites, and what a
 * proof needs to count. Used beside the reporter for people: `--test-reporter=./tools/tally-reporter.ts`.
 */
import { resolve } from 'node:path'
import type { TestEvent } from 'node:test/reporters'

/** How one test ended. */
export interface TallyLine {
  readonly outcome: 'passed' | 'failed' | 'skipped' | 'todo' | 'empty'
  readonly name: string
  readonly file: string
  /** Why it was skipped; empty when the test does not say. */
  readonly reason: string
}

/** Tests only: a suite passes or fails by its tests and would be counted twice. A skipped suite has none, so it counts. */
function lineOf(event: TestEvent): TallyLine | undefined {
  if (event.type !== 'test:pass' && event.type !== 'test:fail') return undefined
  const { name, file = '', skip, todo, details } = event.data
  const marked = skip !== undefined && skip !== false ? skip : todo
  const reason = typeof marked === 'string' ? marked : ''
  if (skip !== undefined && skip !== false) return { outcome: 'skipped', name, file, reason }
  if (details.type === 'suite') return undefined
  if (todo !== undefined && todo !== false) return { outcome: 'todo', name, file, reason }
  if (event.type === 'test:fail') return { outcome: 'failed', name, file, reason: '' }
  // A file in which no test ran is reported as one passed test of the file's own name: a pattern that matches nothing would
  // look like a proof.
  const outcome = resolve(name) === file ? 'empty' : 'passed'
  return { outcome, name, file, reason: '' }
}

export default async function* tally(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    const line = lineOf(event)
    if (line) yield `${JSON.stringify(line)}\n`
  }
}
