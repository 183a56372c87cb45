import type { Source } from './options.ts'
import { type SourceAnswer, type SourceExchange, SourceFailure } from './source.ts'

/** `warn`: works, and will not on a bad day. `skip`: could not be found out. */
export type Verdict = 'ok' | 'warn' | 'fail' | 'skip'

/** One clause of the contract, and how the source keeps it. */
export interface Finding {
  /** Stable name of the clause; docs/contracts/source.md explains it. */
  readonly check: string
  readonly verdict: Verdict
  readonly detail: string
  /** What to change, and on whose side; present unless all is well. */
  readonly mend?: string
}

/** One look-up of the check, and what was on the wire meanwhile. */
export interface Look {
  readonly answer: SourceAnswer | SourceFailure
  readonly exchanges: readonly SourceExchange[]
  readonly milliseconds: number
}

/** As in the adapter; more is a failure there. */
const MOST_PAGE_BYTES = 1024 * 1024

/** What is said to whom about a failure, by what its message tells. The first that fits counts. */
const MENDS: readonly (readonly [RegExp, string])[] = [
  [/credential/, 'give the right credential as auth'],
  [
    /only the configured address/,
    'configure the address it redirects to; redirects are not followed',
  ],
  [
    /status 404/,
    'a 404 after the first page breaks the list off; answer every page that was linked',
  ],
  [/status 429/, 'allow more requests a minute for this client'],
  [/status 5/, 'look at the log of the source'],
  [/status /, 'answer 200 with roles, or 404 for an unknown user'],
  [
    /origin|not a URL|name or password/,
    'link the next page on the configured origin, without a user name or password',
  ],
  [
    /lead back|pages/,
    'end the list: no next page on the last page; raise maxPages when it is that long',
  ],
  [/media type/, 'answer with content-type: application/json'],
  [/compressed/, 'do not compress: we say accept-encoding: identity'],
  [/more than \d+ roles/, 'raise roles.max of the tenant, or give fewer roles'],
  [/more than \d+ bytes/, 'make pages smaller'],
  [/not about the user/, 'repeat exactly the name that was asked for, or correct echo'],
  [/state it was read from/, 'correct consistency, or name the state on every page'],
  [/strong ETag/, 'send a strong ETag with every page, or choose another consistency'],
  [/changed while/, 'try again at a quieter time; keep the list still while its pages are read'],
  [/digest/, 'something between us changes bodies; or compute content-digest over the bytes sent'],
  [/JSON|UTF-8/, 'answer one JSON document in UTF-8, without duplicate members'],
  [
    /member|array|role is not|next page/,
    'correct the paths (roles, nextPage, echo, batch), or the answer',
  ],
  [/outbound\.allow|never called/, 'name the network in outbound.allow'],
  [/nothing was heard|in time|no result/, 'answer sooner, or raise timeout'],
  [
    /no usable connection|no connection/,
    'start the source, open the way to it, or correct its address or certificate',
  ],
]

/** A look-up that failed, as a finding. */
export function failureFinding(check: string, failure: SourceFailure): Finding {
  const mend = MENDS.find(([about]) => about.test(failure.message))?.[1] ?? 'correct the answer'
  return { check, verdict: 'fail', detail: failure.message, mend }
}

/** What two look-ups of a known user tell about the answers. */
export function answerFindings(
  source: Source,
  maxRoles: number,
  first: Look,
  second: Look,
): readonly Finding[] {
  const { answer } = first
  if (answer instanceof SourceFailure) return [failureFinding('known-user', answer)]
  if (!answer.known) {
    const mend = 'name a user it knows with --user, or correct url'
    return [
      { check: 'known-user', verdict: 'fail', detail: 'the source does not know the user', mend },
    ]
  }
  const { roles } = answer
  const few = { check: 'known-user', detail: `${roles.length} roles` }
  const nearMost = roles.length * 2 > maxRoles
  return [
    roles.length === 0
      ? {
          ...few,
          verdict: 'warn',
          mend: 'name a user with roles: an empty list shows nothing of their shape',
        }
      : nearMost
        ? {
            ...few,
            verdict: 'warn',
            detail: `${roles.length} of at most ${maxRoles} roles`,
            mend: 'raise roles.max before it is reached',
          }
        : { ...few, verdict: 'ok' },
    {
      check: 'answers',
      verdict: 'ok',
      detail: 'JSON by its media type, plain, no redirect, links on the origin',
    },
    stability(roles, second),
    pages(source, roles, first.exchanges),
    echo(source),
    size(first.exchanges),
    latency(source, second),
    caches(first.exchanges),
    transport(source, first.exchanges),
  ]
}

function stability(roles: readonly string[], { answer }: Look): Finding {
  const check = 'stable'
  if (answer instanceof SourceFailure) return failureFinding(check, answer)
  const again = answer.known ? answer.roles : []
  const lost = roles.filter((role) => !again.includes(role))
  const found = again.filter((role) => !roles.includes(role))
  if (lost.length + found.length === 0)
    return { check, verdict: 'ok', detail: 'the same roles when read twice' }
  const detail = `read twice, ${lost.length} roles went and ${found.length} came`
  const mend = 'give pages a fixed order by a unique key, and read them from one state'
  return { check, verdict: 'fail', detail, mend }
}

function pages(
  source: Source,
  roles: readonly string[],
  exchanges: readonly SourceExchange[],
): Finding {
  const check = 'pages'
  if (source.batch) return { check, verdict: 'skip', detail: 'a batch has none' }
  const read = new Set(exchanges.map(({ target }) => target)).size
  const detail = `${read} ${read === 1 ? 'page' : 'pages'}`
  const repeated = roles.length - new Set(roles).size
  if (repeated > 0) {
    const mend = 'give pages a fixed order by a unique key: pages that overlap may also leave gaps'
    return { check, verdict: 'warn', detail: `${detail}, ${repeated} roles twice`, mend }
  }
  if (source.nextPagePath !== undefined && read === 1) {
    const mend = 'name a user with more than one page of roles'
    return { check, verdict: 'warn', detail: 'one page: links to the next were not seen', mend }
  }
  if (read * 2 > source.maxPages && read > 1) {
    const mend = 'raise maxPages before it is reached'
    return { check, verdict: 'warn', detail: `${detail} of at most ${source.maxPages}`, mend }
  }
  if (read > 1 && source.consistency.kind === 'none') {
    const mend = 'configure consistency: a role that moves between pages meanwhile would be lost'
    return { check, verdict: 'warn', detail: `${detail}, and no way to notice a change`, mend }
  }
  return { check, verdict: 'ok', detail }
}

function echo({ echoPath, batch }: Source): Finding {
  const check = 'echo'
  // Whoever got here repeated the name, or the look-up had failed.
  if (batch || echoPath !== undefined)
    return { check, verdict: 'ok', detail: 'the answer names its user' }
  const detail = 'nothing shows that an answer is about the user asked for'
  const mend = 'repeat the user in the answer, and configure echo'
  return { check, verdict: 'warn', detail, mend }
}

function size(exchanges: readonly SourceExchange[]): Finding {
  const check = 'size'
  const largest = Math.max(0, ...exchanges.map(({ bytes }) => bytes))
  const detail = `at most ${largest} bytes a page, of ${MOST_PAGE_BYTES}`
  return largest * 2 > MOST_PAGE_BYTES
    ? { check, verdict: 'warn', detail, mend: 'make pages smaller before the limit is reached' }
    : { check, verdict: 'ok', detail }
}

function latency(source: Source, { milliseconds, exchanges }: Look): Finding {
  const check = 'latency'
  const slowest = Math.max(0, ...exchanges.map((exchange) => exchange.milliseconds))
  const { totalMilliseconds, readMilliseconds } = source
  const all = `${Math.round(milliseconds)} of ${totalMilliseconds} ms in all`
  const detail = `${all}, ${Math.round(slowest)} ms the slowest answer`
  // Half: what takes that long at a quiet moment takes longer on a busy day, and a retry no longer fits.
  return milliseconds * 2 > totalMilliseconds || slowest * 2 > readMilliseconds
    ? {
        check,
        verdict: 'warn',
        detail,
        mend: 'answer sooner, or raise timeout.total and timeout.read',
      }
    : { check, verdict: 'ok', detail }
}

function caches(exchanges: readonly SourceExchange[]): Finding {
  const check = 'caches'
  const aged = exchanges.find(({ headers }) => Number(headers['age'] ?? 0) > 0)
  if (aged) {
    const detail = `an answer was ${String(aged.headers['age'])} s old`
    const mend =
      'let no cache on the way answer: we say cache-control: no-cache, and count its age from our question'
    return { check, verdict: 'warn', detail, mend }
  }
  const says = exchanges.some(({ headers }) => headers['cache-control'] !== undefined)
  const detail = says
    ? 'cache-control is ignored: cache.fresh decides'
    : 'nothing was answered by a cache'
  return { check, verdict: 'ok', detail }
}

function transport({ url }: Source, exchanges: readonly SourceExchange[]): Finding {
  const check = 'transport'
  if (url.startsWith('https:')) return { check, verdict: 'ok', detail: 'TLS' }
  const isDigested = exchanges.every(({ headers }) => headers['content-digest'] !== undefined)
  const mend = 'use https'
  return isDigested
    ? { check, verdict: 'warn', detail: 'plain http, with a digest: readable on the way', mend }
    : { check, verdict: 'warn', detail: 'plain http: readable and changeable on the way', mend }
}
