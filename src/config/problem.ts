import { type Path, type Place, pathText, placeText } from './tree.ts'

/** Everything that can be wrong with a configuration, root causes first. Codes are stable. */
export const PROBLEM_CODES = {
  'config/missing-file': 'A file of the configuration, or one it names, cannot be read.',
  'config/syntax':
    'The file is no YAML 1.2 as we accept it (no anchors, tags, merge keys, directives).',
  'config/duplicate-key': 'A key, or a tenant, is there twice.',
  'config/unknown-key': 'A key, environment variable or flag does not exist.',
  'config/wrong-type': 'A value is of another kind: text for a number, a list for a group.',
  'config/conflict': 'Two keys exclude each other.',
  'config/missing-key': 'A required key is not there.',
  'config/literal-secret':
    'A secret is written into the file or a flag; it belongs behind `${env:…}` or `${file:…}`.',
  'config/algorithm': 'A signature algorithm that is never accepted.',
  'config/bad-value': 'A value is of the right kind but not allowed.',
  'config/not-available': 'The feature comes with a later version.',
  'config/missing-secret':
    'The environment variable or file behind a reference is missing or empty.',
  'config/secret-kind': 'What is behind a reference is not what the key needs.',
  'config/secret-mode': 'A file with a secret can be read by other accounts (a warning).',
  'config/kek-missing': 'Signing keys have no `keys.store` and no remote signer.',
  'config/kek-form': 'The key-encryption key is not 32 bytes.',
  'config/publish-ahead': 'A key could sign before every verifier knows it.',
  'config/rotation': 'Keys would change too often for what depends on them, or hardly ever.',
  'config/successors': 'Too few published keys would be ready for an incident.',
  'config/listen': 'Listeners exclude each other or are open where they must not be.',
  'config/insecure-url':
    'An http:// address outside profile `dev`, or in `dev` one that is not loopback.',
  'config/issuer-form': 'An issuer is not in the one spelling that works, or is used twice.',
  'config/idp-conflict': 'Two IdP entries accept the same tokens.',
  'config/subject-prefix': 'Two IdPs of a tenant could produce the same subject.',
  'config/upn-domains': 'Two IdPs of a tenant and one does not say whose UPNs it may present.',
  'config/dangling': 'A name refers to nothing.',
  'config/ttl-over-cap': 'A token would live longer than 12 h.',
  'config/skew': 'The tolerated clock difference is over 60 s.',
  'config/per-process': 'A limit would be counted in each process alone.',
  'config/failure-policy': 'What a source is kept for does not fit what its failure means.',
  'config/public-client': 'A client without a credential may do what needs one.',
  'config/no-roles-possible': 'No token of a client could ever carry a role.',
  'config/ceiling-unreachable': 'A role of a ceiling that no mapping produces (a warning).',
  'config/no-target': 'A client may exchange but for no audience, or from no IdP (a warning).',
  'config/no-source': 'An IdP whose users no source knows (a warning).',
} as const

/** One of the codes. */
export type ProblemCode = keyof typeof PROBLEM_CODES

/** One thing that is wrong, ready to be shown: it holds no secret. */
export interface Problem {
  readonly severity: 'error' | 'warning'
  readonly code: ProblemCode
  readonly message: string
  /** The key it is about, dotted; empty for the file as a whole. */
  readonly path: string
  /** `tenants/acme.yaml:10:9`, `env ROLEMINT_…`, `flag …` or `default`. */
  readonly origin: string
  /** Relative to the folder of the main file; these four are undefined for a value that no file holds. */
  readonly file: string | undefined
  /** From 1. */
  readonly line: number | undefined
  /** From 1. */
  readonly column: number | undefined
  readonly length: number | undefined
  /** What to do about it. */
  readonly mend: string | undefined
  /** The line, secrets and comments left out, and where the caret belongs in it (from 0). */
  readonly excerpt:
    | { readonly text: string; readonly from: number; readonly length: number }
    | undefined
}

/** A configuration that was refused. Its message names the first problem. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  /** Errors, root causes first, then warnings. */
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    const [first] = problems
    super(first ? `${first.code}: ${first.message} (${first.origin})` : 'invalid configuration')
    this.problems = problems
  }
}

/** A problem as the checks report it. */
export interface Finding {
  readonly code: ProblemCode
  readonly severity?: 'error' | 'warning'
  readonly path: Path
  readonly place: Place
  readonly message: string
  readonly mend?: string
  /** True when the value is there all the same, of the right kind, so that checks of meaning may look at it. */
  readonly keepsValue?: boolean
}

/** Collects what the checks find. */
export interface Findings {
  /** The answer lets a check end with its complaint: `return findings.add(…)`. */
  add(finding: Finding): undefined
  /** True when every value at or below `path` is of the type that the schema says. */
  isSound(path: Path): boolean
  hasErrors(): boolean
  /** True when a file could not be read or parsed: the rest would only complain about what is in it. */
  isUnread(): boolean
  /** All problems, root causes first. Made at the end, when it is known what of the lines may be shown. */
  problems(vocabulary: ReadonlySet<string>): readonly Problem[]
}

const RANK = new Map(Object.keys(PROBLEM_CODES).map((code, index) => [code, index]))

/** An empty collection. */
export function createFindings(): Findings {
  const found: Finding[] = []
  return {
    add: (finding) => void found.push(finding),
    hasErrors: () => found.some(isError),
    isUnread: () =>
      found.some(
        (finding) =>
          isError(finding) &&
          (finding.code === 'config/syntax' || finding.code === 'config/missing-file'),
      ),
    isSound: (path) =>
      !found.some(
        (finding) =>
          isError(finding) &&
          finding.keepsValue !== true &&
          path.every((step, index) => finding.path[index] === step),
      ),
    problems: (vocabulary) => {
      return found
        .map((finding, order) => ({ finding, order }))
        .toSorted((a, b) => rank(a.finding) - rank(b.finding) || a.order - b.order)
        .map(({ finding }) => toProblem(finding, vocabulary))
    },
  }
}

function isError({ severity }: Finding): boolean {
  return severity !== 'warning'
}

function rank(finding: Finding): number {
  return (isError(finding) ? 0 : 1000) + (RANK.get(finding.code) ?? 0)
}

function toProblem(finding: Finding, vocabulary: ReadonlySet<string>): Problem {
  const { place } = finding
  const inFile = place.kind === 'file' ? place : undefined
  const position = inFile?.source.position(inFile.start)
  return {
    severity: finding.severity ?? 'error',
    code: finding.code,
    message: finding.message,
    path: pathText(finding.path),
    origin: placeText(place),
    file: inFile?.source.file,
    line: position?.line,
    column: position?.column,
    length: inFile && Math.max(1, inFile.end - inFile.start),
    mend: finding.mend,
    excerpt: inFile?.source.excerpt(inFile.start, inFile.end, vocabulary),
  }
}

/** A text as it may stand in a message: quoted, short, printable. */
export function quoted(text: string): string {
  const short = text.length > 60 ? `${text.slice(0, 57)}...` : text
  return `"${short.replace(/[^\P{C}]/gu, '?')}"`
}
