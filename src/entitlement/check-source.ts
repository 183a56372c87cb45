import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/id.ts'
import { Secret } from '../lib/secret.ts'
import { withDeadline } from '../resilience/deadline.ts'
import { answerFindings, type Finding, failureFinding, type Look } from './check-answers.ts'
import type { Source } from './options.ts'
import { type EntitlementSource, type SourceExchange, SourceFailure } from './source.ts'

/** What the check works with. */
export interface SourceCheckDeps {
  /** Makes the adapter that a server would use, so that nothing passes here that fails there, and tells of each answer. */
  readonly open: (observed: (exchange: SourceExchange) => void) => EntitlementSource & {
    close(): Promise<void>
  }
  readonly random: Random
  /** For latency; need not be the wall clock. */
  readonly clock: Clock
}

/** Whom to ask about. */
export interface SourceCheckAsk {
  /** A user the source knows, best one with several pages of roles. */
  readonly user: string
  readonly maxRoles: number
}

/** What a check found. */
export interface SourceReport {
  readonly source: string
  readonly user: string
  /** `unreachable`: no answer at all, so nothing is known about the rest. */
  readonly outcome: 'kept' | 'broken' | 'unreachable'
  /** As the source gave them; undefined when it gave none. */
  readonly roles: readonly string[] | undefined
  readonly findings: readonly Finding[]
}

type LookUp = (source: Source, user: string, more?: { readonly maxRoles?: number }) => Promise<Look>

/**
 * Asks a source what a server would, and some things that only an attacker or a mistake would, and says which clauses of
 * docs/contracts/source.md it keeps. Reads only; makes about thirty requests, one after the other.
 */
export async function checkSource(
  deps: SourceCheckDeps,
  source: Source,
  { user, maxRoles }: SourceCheckAsk,
): Promise<SourceReport> {
  let exchanges: SourceExchange[] = []
  const port = deps.open((exchange) => void exchanges.push(exchange))
  const lookUp: LookUp = async (asked, name, more = {}) => {
    exchanges = []
    const began = deps.clock.now()
    const answer = await withDeadline(asked.totalMilliseconds, (signal) =>
      port.rolesOf(asked, name, more.maxRoles ?? maxRoles, signal),
    ).catch((error: unknown) => failureOf(asked, error))
    return { answer, exchanges, milliseconds: deps.clock.now() - began }
  }
  const report = (outcome: SourceReport['outcome'], findings: readonly Finding[], look?: Look) => {
    const answer = look?.answer
    const roles = answer && 'known' in answer && answer.known ? answer.roles : undefined
    return { source: source.name, user, outcome, roles, findings }
  }
  try {
    // The first one also opens the connection; latency is that of the second.
    const first = await lookUp(source, user)
    if (first.answer instanceof SourceFailure) {
      const { kind } = first.answer
      const isSilent = kind === 'unreachable' || kind === 'timeout'
      const finding = failureFinding('known-user', first.answer)
      return report(isSilent ? 'unreachable' : 'broken', [finding])
    }
    const second = await lookUp(source, user)
    const findings = [
      ...answerFindings(source, maxRoles, first, second),
      ...(source.batch ? await batchFindings(lookUp, source, user, first) : []),
      await unknownUser(lookUp, source, randomName(deps.random)),
      ...(await credentials(lookUp, source, user, deps.random)),
      ...(await oddNames(lookUp, source, user, deps.random)),
    ]
    const isBroken = findings.some(({ verdict }) => verdict === 'fail')
    return report(isBroken ? 'broken' : 'kept', findings, first)
  } finally {
    await port.close()
  }
}

function failureOf(source: Source, error: unknown): SourceFailure {
  if (error instanceof SourceFailure) return error
  // Anything else is a bug of the check, but for the deadline.
  if (!(error instanceof Error) || error.name !== 'DeadlineExceeded') throw error
  return new SourceFailure(source.name, 'timeout', error.message, error)
}

const randomName = (random: Random): string =>
  `rolemint-check-${random.bytes(9).toString('base64url')}`

async function unknownUser(lookUp: LookUp, source: Source, name: string): Promise<Finding> {
  const check = 'unknown-user'
  const { answer } = await lookUp(source, name)
  const how = source.batch ? 'in the list of unknown users' : 'as 404'
  if (answer instanceof SourceFailure) {
    const { detail } = failureFinding(check, answer)
    const mend = `answer for a user you do not know ${how}`
    return { check, verdict: 'fail', detail, mend }
  }
  if (!answer.known) return { check, verdict: 'ok', detail: `said ${how}` }
  const detail =
    answer.roles.length === 0
      ? 'a random name was answered with an empty list, as if it were a user without roles'
      : `a random name was given ${answer.roles.length} roles`
  return { check, verdict: 'fail', detail, mend: `answer for a user you do not know ${how}` }
}

/** What the source does without our credential, and with a wrong one. */
async function credentials(
  lookUp: LookUp,
  source: Source,
  user: string,
  random: Random,
): Promise<readonly Finding[]> {
  const { auth } = source
  if (!auth) {
    const detail = 'none is configured: whoever reaches the source can read who may do what'
    const mend = 'ask for a credential there, and configure it as auth'
    return [{ check: 'credential', verdict: 'warn', detail, mend }]
  }
  const wrong = random.bytes(24).toString('base64url')
  const scheme = auth.header === 'authorization' ? 'Bearer ' : ''
  const value = new Secret(`${scheme}${wrong}`)
  return [
    credentialFinding('no-credential', await lookUp({ ...source, auth: undefined }, user)),
    credentialFinding(
      'wrong-credential',
      await lookUp({ ...source, auth: { ...auth, value } }, user),
    ),
  ]
}

function credentialFinding(check: string, { answer }: Look): Finding {
  const mend = 'answer 401 or 403 unless the credential is right, before looking at anything else'
  if (!(answer instanceof SourceFailure)) {
    const detail = answer.known
      ? 'roles were given out'
      : 'answered "unknown user": when our credential expires, everybody would be unknown'
    return { check, verdict: 'fail', detail, mend }
  }
  if (answer.status === 401 || answer.status === 403)
    return { check, verdict: 'ok', detail: `refused with ${answer.status}` }
  return { check, verdict: 'fail', detail: answer.message, mend }
}

/** Names that mean something else to a server that decodes too early, twice, or puts them into a query. */
const ODD = [
  'a/b',
  'a%2Fb',
  '%',
  'ünï',
  'a b',
  'a?b',
  'a#b',
  'a&b=c',
  'a+b',
  "o'neil",
  'a;b',
  '💡',
  '*',
]

async function oddNames(
  lookUp: LookUp,
  source: Source,
  user: string,
  random: Random,
): Promise<readonly Finding[]> {
  const tail = randomName(random)
  const refused: string[] = []
  const confused: string[] = []
  const disguises = [
    ...(encodeURIComponent(user) === user ? [] : [encodeURIComponent(user)]),
    `x/../${user}`,
    `${user}/../${user}`,
    `${user}?`,
    `${user}#`,
    `${user}\0`,
  ]
  for (const name of [...ODD.map((odd) => `${odd}${tail}`), ...disguises]) {
    const { answer } = await lookUp(source, name)
    const shown = JSON.stringify(name.replace(tail, '…').replaceAll(user, 'USER'))
    if (answer instanceof SourceFailure) {
      const isAboutOther = answer.message.includes('not about the user')
      if (isAboutOther) confused.push(shown)
      else refused.push(`${shown} (${answer.status ?? answer.message})`)
    } else if (answer.known) confused.push(shown)
  }
  const check = 'odd-names'
  if (confused.length > 0) {
    const detail = `taken for another user: ${confused.join(', ')}`
    const mend = 'decode the path once, segment by segment, and compare names exactly'
    return [{ check, verdict: 'fail', detail, mend }]
  }
  if (refused.length > 0) {
    const detail = `not answered: ${refused.join(', ')}`
    const mend = 'let the gateway pass percent-encoded names; users with such names get 503 here'
    return [{ check, verdict: 'warn', detail, mend }]
  }
  return [{ check, verdict: 'ok', detail: `${ODD.length + disguises.length} names told apart` }]
}

/** Whether the batch endpoint says the same as single reads, and tells users apart. */
async function batchFindings(
  lookUp: LookUp,
  source: Source,
  user: string,
  batched: Look,
): Promise<readonly Finding[]> {
  const check = 'batch'
  const single = await lookUp({ ...source, batch: undefined }, user)
  const [one, other] = [batched.answer, single.answer]
  if (
    one instanceof SourceFailure ||
    other instanceof SourceFailure ||
    !one.known ||
    !other.known
  ) {
    const detail =
      other instanceof SourceFailure ? other.message : 'the user is unknown to one of them'
    const mend = 'url and batch.url must answer about the same users'
    return [{ check, verdict: 'fail', detail: `single reads: ${detail}`, mend }]
  }
  if (!sameSet(one.roles, other.roles)) {
    const detail = `${one.roles.length} roles in a batch, ${other.roles.length} read singly`
    return [{ check, verdict: 'fail', detail, mend: 'both must give the same roles' }]
  }
  return [{ check, verdict: 'ok', detail: 'says what single reads say' }]
}

/** Whether two lists hold the same roles, whatever their order. */
function sameSet(one: readonly string[], other: readonly string[]): boolean {
  const both = new Set([...one, ...other])
  return both.size === new Set(one).size && both.size === new Set(other).size
}
