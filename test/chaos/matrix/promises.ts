/** What is promised in each cell of the fault matrix, as data; `run.ts` holds the product to it. */
import { DEPENDENCIES, type Dependency, FAULTS, type FaultKind } from './faults.ts'

/** `warm`: what is asked for was served before the fault. `cold`: a user, an issuer or a process that is new. */
export const WARMTHS = ['warm', 'cold'] as const
export type Warmth = (typeof WARMTHS)[number]

/**
 * A kind of request. `known…` and `new…` are exchanges for a user that was served before or never; the second half names what the tenant
 * does when its source fails, `within` that its last answer is still fresh. `introspect-late` comes when what memory holds of cut-offs is
 * older than a second. `limits` is a burst of one user who may have five exchanges a minute. `boot…` is the start of a process.
 */
export type ProbeName =
  | 'known-within'
  | 'known-deny'
  | 'known-stale'
  | 'known-limited'
  | 'new-deny'
  | 'new-stale'
  | 'new-limited'
  | 'unknown-kid'
  | 'limits'
  | 'new-issuer'
  | 'introspect'
  | 'introspect-late'
  | 'killed-key'
  | 'jwks'
  | 'livez'
  | 'boot'
  | 'boot-from-cache'

/**
 * What came back: of an exchange the `entitlements.status` of the token, or status and `error_code`; of a burst `bounded` when no more than
 * twice the limit were let through and the others got 429; of a start `starts` and what its first exchange came to, or `refused`.
 */
export type Outcome = string

/** What a request of one kind may come to, and by when. */
export interface Expectation {
  readonly outcomes: readonly Outcome[]
  readonly withinSeconds: number
}

/** One cell. */
export interface Cell {
  readonly dependency: Dependency
  readonly fault: FaultKind
  readonly warmth: Warmth
  readonly expects: Readonly<Partial<Record<ProbeName, Expectation>>>
  /** By itself, once the fault is over: everything is as {@link HEALTHY} says. */
  readonly healsWithinSeconds: number
}

/** What must not happen in any cell, whatever else it promises; looked for in every answer. */
export const NEVER = [
  'a token whose roles are not the complete set, a permitted older set, or the listed roles of `limited`',
  'a token that is not in the ledger once the fault is over',
  'a token of a killed key called active',
  'an answer of 500, or none within the request budget of 5 s and one second more',
] as const

/** What each probe comes to when nothing is wrong. */
export const HEALTHY: Readonly<Record<ProbeName, Outcome>> = {
  'known-within': 'fresh',
  'known-deny': 'fresh',
  'known-stale': 'fresh',
  'known-limited': 'fresh',
  'new-deny': 'fresh',
  'new-stale': 'fresh',
  'new-limited': 'fresh',
  'unknown-kid': '400 invalid_signature',
  limits: 'bounded',
  'new-issuer': 'fresh',
  introspect: 'active',
  'introspect-late': 'active',
  'killed-key': 'inactive',
  jwks: '200',
  livez: '200',
  boot: 'starts: fresh',
  'boot-from-cache': 'starts: fresh',
}

/** The promise of a dependency in words, for the page. */
export const SENTENCES: Readonly<Record<Dependency, Readonly<Record<Warmth, string>>>> = {
  idp: {
    warm: 'Users of issuers whose keys were read are served. A key id that was never seen gets `503 idp_keys_unavailable`, never "invalid".',
    cold: 'An issuer whose keys were never read gets `503 idp_keys_unavailable`. A process that starts meanwhile serves the issuers whose last good keys are on its disk.',
  },
  entitlement: {
    warm: 'Within `fresh` nobody notices. Beyond it `deny` refuses with `503 entitlements_unavailable`, `stale` serves the last answer, marked so in the token, `limited` grants the listed roles for a short life.',
    cold: 'For a user never seen `deny` and `stale` refuse with `503 entitlements_unavailable`, `limited` grants the listed roles. It is never "no roles".',
  },
  vault: {
    warm: 'Nothing is refused: keys are in memory. The alarm `rolemint_key_store_up 0` comes within 30 s and ends by itself.',
    cold: 'Without a boot cache a start is refused; with one it succeeds and serves. No key is made up.',
  },
  valkey: {
    warm: 'Nothing is refused that would not be otherwise: roles are asked for at the source, and each process counts limits alone, so that no more than twice a limit gets through.',
    cold: 'A process starts and serves.',
  },
  store: {
    warm: 'No token without a record: `503 ledger_unavailable` within the request budget. Introspection answers from memory for a second, then refuses rather than guess. JWKS and `/livez` are served.',
    cold: 'A start is refused, and succeeds once the store is back.',
  },
}

type Expected = Partial<Record<ProbeName, readonly Outcome[]>>

/** Requests that have nothing to do with most faults, made in every cell to see that it stays so. */
export const BYSTANDERS = ['known-within', 'introspect', 'killed-key', 'jwks', 'livez'] as const

const NO_ROLES_NOW = ['503 entitlements_unavailable'] as const
const NO_KEYS_NOW = ['503 idp_keys_unavailable'] as const
const NO_RECORD_NOW = ['503 ledger_unavailable'] as const
const REFUSED = ['refused'] as const

const EXPECTED: Readonly<Record<Dependency, Readonly<Record<Warmth, Expected>>>> = {
  idp: {
    warm: { 'known-deny': ['fresh'], 'unknown-kid': NO_KEYS_NOW },
    cold: { 'new-issuer': NO_KEYS_NOW, boot: ['starts: fresh'] },
  },
  entitlement: {
    warm: {
      'known-deny': NO_ROLES_NOW,
      'known-stale': ['stale'],
      'known-limited': ['limited'],
      'unknown-kid': ['400 invalid_signature'],
    },
    cold: { 'new-deny': NO_ROLES_NOW, 'new-stale': NO_ROLES_NOW, 'new-limited': ['limited'] },
  },
  vault: {
    warm: { 'known-deny': ['fresh'], 'new-deny': ['fresh'] },
    cold: { boot: REFUSED, 'boot-from-cache': ['starts: fresh'] },
  },
  valkey: {
    warm: {
      'known-deny': ['fresh'],
      'new-deny': ['fresh'],
      'unknown-kid': ['400 invalid_signature'],
      limits: ['bounded'],
    },
    cold: { boot: ['starts: fresh'], limits: ['bounded'] },
  },
  store: {
    warm: {
      'known-within': NO_RECORD_NOW,
      'known-deny': NO_RECORD_NOW,
      'new-deny': NO_RECORD_NOW,
      'unknown-kid': ['400 invalid_signature'],
      // For a second what is in memory is as good as what is in the store; that a key is dead stays true.
      introspect: ['active', ...NO_RECORD_NOW],
      'introspect-late': NO_RECORD_NOW,
      'killed-key': ['inactive', ...NO_RECORD_NOW],
    },
    cold: { boot: REFUSED, 'introspect-late': NO_RECORD_NOW },
  },
}

/** Seconds for an answer. Of bystanders: what a busy machine may take; of others: the deadline of the dependency, or the request budget. */
const WITHIN: Readonly<Record<Dependency, number>> = {
  idp: 4,
  entitlement: 3,
  vault: 3,
  valkey: 3,
  store: 6,
}
const BOOT_WITHIN_SECONDS = 40
const HEALS_WITHIN: Readonly<Record<Dependency, number>> = {
  idp: 20,
  entitlement: 20,
  vault: 60,
  valkey: 20,
  store: 15,
}

/** Faults that let some requests through: each of them goes well or as promised. */
const isPartial = ({ dependency, fault }: Pick<Cell, 'dependency' | 'fault'>): boolean =>
  // One slow answer fits into the deadline of a reading of keys, two do not.
  fault === 'flapping' || (dependency === 'idp' && fault === 'slow')

/** A start asks many questions in a row. How many slow answers fit into its deadline depends on the number of keys; a store that is slow, or there only now and then, keeps it waiting. */
const SLOW_START = ['starts: fresh', 'starts: 503 ledger_unavailable'] as const

/** All 80 cells. */
export const CELLS: readonly Cell[] = DEPENDENCIES.flatMap((dependency) =>
  FAULTS.flatMap((fault) => WARMTHS.map((warmth) => cellOf(dependency, fault, warmth))),
)

function cellOf(dependency: Dependency, fault: FaultKind, warmth: Warmth): Cell {
  const own = EXPECTED[dependency][warmth]
  const bystanders = Object.fromEntries(BYSTANDERS.map((probe) => [probe, [HEALTHY[probe]]]))
  // While the store is away, what needs it is refused in its cold cells too.
  const during = dependency === 'store' ? EXPECTED.store.warm : {}
  const expected: Expected = {
    ...bystanders,
    ...Object.fromEntries(
      BYSTANDERS.flatMap((probe) => (during[probe] ? [[probe, during[probe]]] : [])),
    ),
    ...own,
  }
  const expects: Partial<Record<ProbeName, Expectation>> = {}
  for (const [name, outcomes] of Object.entries(expected)) {
    const probe = name as ProbeName
    const partial = isPartial({ dependency, fault }) ? [HEALTHY[probe]] : []
    const mayStart = outcomes === REFUSED && (fault === 'slow' || fault === 'flapping')
    const started = mayStart ? SLOW_START : []
    expects[probe] = {
      outcomes: [...new Set([...outcomes, ...partial, ...started])],
      withinSeconds: probe.startsWith('boot') ? BOOT_WITHIN_SECONDS : WITHIN[dependency],
    }
  }
  return { dependency, fault, warmth, expects, healsWithinSeconds: HEALS_WITHIN[dependency] }
}

/** Some 25 cells in which every dependency and every fault occurs, warm and cold. */
export const QUICK_CELLS: readonly Cell[] = CELLS.filter(({ dependency, fault, warmth }) => {
  const place = (FAULTS.indexOf(fault) + DEPENDENCIES.indexOf(dependency)) % FAULTS.length
  return warmth === 'warm' ? [0, 2, 5].includes(place) : [1, 4].includes(place)
})
