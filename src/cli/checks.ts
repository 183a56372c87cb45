import { EXIT, type ExitCode } from './exit-codes.ts'

/** What one check of a dependency came to. */
export interface Check {
  readonly result: 'ok' | 'warn' | 'fail'
  /** Stable, for scripts: e.g. `jwks.keys`. */
  readonly check: string
  /** What was found, as a fact. */
  readonly what: string
  /** What to do about it; absent where nothing is to be done. */
  readonly mend?: string
}

/** Checks in the order they were made. */
export interface Checks {
  ok(check: string, what: string): void
  warn(check: string, what: string, mend: string): void
  fail(check: string, what: string, mend: string): void
  readonly all: readonly Check[]
}

/** An empty list. */
export function createChecks(): Checks {
  const all: Check[] = []
  return {
    all,
    ok: (check, what) => void all.push({ result: 'ok', check, what }),
    warn: (check, what, mend) => void all.push({ result: 'warn', check, what, mend }),
    fail: (check, what, mend) => void all.push({ result: 'fail', check, what, mend }),
  }
}

/** As a table, first row the heads. A mend stands on a line of its own below what it mends, or the table would be wider than any screen. */
export function checkRows(checks: readonly Check[]): readonly (readonly string[])[] {
  return [
    ['RESULT', 'CHECK', 'WHAT'],
    ...checks.flatMap(({ result, check, what, mend }) => [
      [result === 'fail' ? 'FAIL' : result, check, what],
      ...(mend === undefined ? [] : [['', '', `-> ${mend}`]]),
    ]),
  ]
}

/** One failure is a no; warnings are not. */
export function exitOf(checks: readonly Check[]): ExitCode {
  return checks.some(({ result }) => result === 'fail') ? EXIT.no : EXIT.yes
}
