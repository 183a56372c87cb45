import type { Findings } from './problem.ts'
import type { References } from './references.ts'
import type { Shape } from './shape.ts'
import type { Node, Path, Place } from './tree.ts'

/** One value of the effective configuration. */
export interface Setting {
  readonly path: Path
  /** As `config show` prints it: secrets redacted, references left as they are written. */
  readonly shown: unknown
  /** As it counts for the hash: secrets by their reference, everything else by its value. */
  readonly hashed: unknown
  readonly place: Place
  readonly reload: 'hot' | 'restart'
  /** `url` for addresses, so that one rule finds them all. */
  readonly format: Shape['x-kind']
}

/** Where a key is. */
export interface Found {
  readonly path: Path
  readonly key: Place
  /** Where a complaint about it points: the value if it is a single one, else the key. */
  readonly caret: Place
}

/** What the check of a tree yields besides findings. */
export interface Checked {
  /** Of the type that the schema describes, if no finding says otherwise. */
  readonly value: unknown
  readonly settings: readonly Setting[]
  /** By dotted path; left-out keys that have a default are here too. */
  readonly places: ReadonlyMap<string, Found>
}

/** What {@link checkTree} needs. */
export interface CheckDeps {
  readonly references: References
  readonly findings: Findings
}

/** Where the check stands. */
export interface Spot {
  readonly path: Path
  /** Where the key is; for a list element, where the element is. */
  readonly keyPlace: Place
  /** Of the nearest key that says so. */
  readonly reload: 'hot' | 'restart'
}

/** The check under way, as its parts see it. */
export interface Walk extends CheckDeps {
  readonly settings: Setting[]
  /** Checks a value below and returns it with defaults and without references. */
  visit(shape: Shape, node: Node, spot: Spot): unknown
}
