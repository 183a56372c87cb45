import type { SourceBatch } from '../../entitlement/batch-options.ts'
import type { SourceAnswer } from '../../entitlement/source.ts'
import { waitUnder, withDeadline } from '../../resilience/deadline.ts'
import {
  type AnswerPath,
  collect,
  collectStrings,
  compilePathToList,
  compilePathToOne,
  optionalAt,
  ShapeError,
} from './answer-path.ts'
import { batchAddress, mustBeName, originOf } from './source-address.ts'
import type { ReadRoles } from './source-pages.ts'
import { ask, type SourceLine } from './source-request.ts'

/** Longest answer read, for all users together. */
const MAX_BATCH_BYTES = 4 * 1024 * 1024

/** What an answer says, by user: the part about them, or that the source does not know them. */
type Said = ReadonlyMap<string, { readonly part: unknown } | 'unknown'>

/** Look-ups that share a request. */
interface Batch {
  /** How many look-ups wait for each user. */
  readonly waiting: Map<string, number>
  /** Fires when nobody waits any more. */
  readonly abandoned: AbortController
  readonly said: Promise<Said>
  /** Sends it now rather than when the window ends. */
  send(): void
}

interface Paths {
  readonly answers: AnswerPath
  readonly user: readonly string[]
  readonly roles: AnswerPath
  readonly unknown: AnswerPath | undefined
}

/**
 * Reads roles of many users with one request: look-ups within a window go together, up to a number.
 *
 * Each user's part stands for itself, whole or not at all. What cannot be told apart by user fails all look-ups of the request and no others:
 * no answer, an answer of another shape, one about somebody who was not asked for. Single reads are no way out, as they would multiply the load
 * on a source that is in trouble. A request has a deadline of its own and ends early only when everybody has left.
 *
 * @throws {ShapeError | AddressError} when the configuration names no usable path or address.
 */
export function createBatches(line: SourceLine, options: SourceBatch): ReadRoles {
  const { source } = line
  const address = batchAddress(options.url, originOf(source.url))
  const paths: Paths = {
    answers: compilePathToList(options.answersPath),
    user: compilePathToOne(options.userPath),
    roles: compilePathToList(options.rolesPath),
    unknown: options.unknownPath === undefined ? undefined : compilePathToList(options.unknownPath),
  }
  let open: Batch | undefined

  return async (user, maxRoles, signal): Promise<SourceAnswer> => {
    mustBeName(user)
    const batch = (open ??= start())
    batch.waiting.set(user, (batch.waiting.get(user) ?? 0) + 1)
    if (batch.waiting.size >= options.max) batch.send()
    try {
      return answerFor(user, maxRoles, await waitUnder(batch.said, signal), paths.roles)
    } finally {
      leave(batch, user)
    }
  }

  function start(): Batch {
    const waiting = new Map<string, number>()
    const abandoned = new AbortController()
    const { promise: sent, resolve } = Promise.withResolvers<void>()
    const send = (): void => {
      clearTimeout(timer)
      // Whoever comes now starts the next one.
      open = undefined
      resolve()
    }
    const timer = setTimeout(send, options.windowMilliseconds)
    const said = sent.then(() => askAll([...waiting.keys()], abandoned.signal))
    // Everybody may have left by the time it fails.
    said.catch(() => undefined)
    return { waiting, abandoned, said, send }
  }

  function leave({ waiting, abandoned }: Batch, user: string): void {
    const others = (waiting.get(user) ?? 0) - 1
    if (others > 0) waiting.set(user, others)
    else waiting.delete(user)
    // While it is open somebody may still join.
    if (waiting.size === 0 && open?.waiting !== waiting) abandoned.abort()
  }

  async function askAll(users: readonly string[], abandoned: AbortSignal): Promise<Said> {
    if (users.length === 0) return new Map()
    return withDeadline(source.totalMilliseconds, async (deadline) => {
      const { document } = await ask(
        line,
        {
          what: 'batch',
          address,
          body: { [options.usersMember]: users },
          maxBytes: MAX_BATCH_BYTES,
        },
        AbortSignal.any([deadline, abandoned]),
      )
      return readSaid(document, users, paths)
    })
  }
}

/** Sorts an answer by user. Strict: what says more than was asked was made for another question. */
function readSaid(document: unknown, users: readonly string[], paths: Paths): Said {
  const asked = new Set(users)
  const said = new Map<string, { readonly part: unknown } | 'unknown'>()
  const add = (user: unknown, what: { readonly part: unknown } | 'unknown'): void => {
    if (typeof user !== 'string' || !asked.has(user))
      throw new ShapeError('the batch answers about somebody who was not asked for')
    if (said.has(user)) throw new ShapeError('the batch answers twice about one user')
    said.set(user, what)
  }
  for (const part of collect(document, paths.answers)) add(optionalAt(part, paths.user), { part })
  if (paths.unknown) for (const user of collect(document, paths.unknown)) add(user, 'unknown')
  return said
}

function answerFor(user: string, maxRoles: number, said: Said, path: AnswerPath): SourceAnswer {
  const what = said.get(user)
  // Silence is not "unknown": the answer may have been cut short by whoever made it.
  if (what === undefined) throw new ShapeError('the batch does not answer about the user')
  if (what === 'unknown') return { known: false }
  const roles: string[] = []
  collectStrings(what.part, path, roles, maxRoles)
  return { known: true, roles }
}
