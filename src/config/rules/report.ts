import type { Findings, ProblemCode } from '../problem.ts'
import { BY_DEFAULT, type Path, type Place, pathText } from '../tree.ts'
import type { Checked } from '../walk.ts'

/** How a rule of meaning says what it found. */
export interface Report {
  error(code: ProblemCode, path: Path, message: string, mend: string): void
  warning(code: ProblemCode, path: Path, message: string, mend: string): void
  /** The first of these keys that somebody wrote, else the first: what a complaint about several keys points at. */
  written(paths: readonly [Path, ...Path[]]): Path
}

/** A {@link Report} that knows where things were written. */
export function createReport(findings: Findings, places: Checked['places']): Report {
  // What nobody wrote has no line of its own: the complaint then points at the group it belongs to.
  const caretOf = (path: Path): Place => {
    const found = places.get(pathText(path))
    if (found && (found.caret.kind !== 'default' || path.length === 0)) return found.caret
    return path.length === 0 ? BY_DEFAULT : caretOf(path.slice(0, -1))
  }
  const add =
    (severity: 'error' | 'warning') =>
    (code: ProblemCode, path: Path, message: string, mend: string) =>
      findings.add({ severity, code, path, place: caretOf(path), message, mend, keepsValue: true })
  const isWritten = (path: Path): boolean => {
    const found = places.get(pathText(path))
    return found !== undefined && found.caret.kind !== 'default'
  }
  return {
    error: add('error'),
    warning: add('warning'),
    written: (paths) => paths.find(isWritten) ?? paths[0],
  }
}

/** True when a host as `URL.hostname` gives it is this machine. */
export function isLoopbackHost(host: string): boolean {
  return (
    host === 'localhost' || host === '[::1]' || host === '::1' || /^127(\.[0-9]+){3}$/.test(host)
  )
}
