import type { Problem } from './problem.ts'

/** More would hide the first, which is nearly always the cause. */
const MOST_SHOWN = 5
const WIDEST_LINE = 140

/**
 * Problems as people read them, each with its line, a caret and the mend; at most five.
 *
 * ```
 * error[config/unknown-key]: unknown key "algoritms" in tenants.acme.idps.login
 *   --> tenants/acme.yaml:10:9
 *   10 |         algoritms: [RS256]
 *      |         ^^^^^^^^^           mend: did you mean "algorithms"?
 * ```
 */
export function renderProblems(problems: readonly Problem[]): string {
  const shown = problems.slice(0, MOST_SHOWN).map(renderProblem)
  const rest = problems.length - shown.length
  if (rest > 0) shown.push(`… and ${rest} more; all of them: rolemint config check -o json\n`)
  return shown.join('\n')
}

function renderProblem({ severity, code, message, origin, line, excerpt, mend }: Problem): string {
  const head = `${severity}[${code}]: ${message}\n`
  if (line === undefined || !excerpt) {
    const place = origin === 'default' ? '' : `  --> ${origin}\n`
    return `${head}${place}${mend ? `  mend: ${mend}\n` : ''}`
  }
  const gutter = ' '.repeat(String(line).length)
  const caret = `${' '.repeat(excerpt.from)}${'^'.repeat(excerpt.length)}`
  const aside = `${caret.padEnd(excerpt.text.length)}  mend: ${mend ?? ''}`
  const fits = 7 + aside.length <= WIDEST_LINE
  const below = mend === undefined ? caret : fits ? aside : `${caret}\n  ${gutter} | mend: ${mend}`
  return `${head}  --> ${origin}\n  ${line} | ${excerpt.text}\n  ${gutter} | ${below}\n`
}
