import type { IncomingHttpHeaders } from 'node:http'
import type { Consistency } from '../../entitlement/options.ts'
import { type SourceAnswer, SourceFailure } from '../../entitlement/source.ts'
import {
  collectStrings,
  compilePathToList,
  compilePathToOne,
  optionalAt,
  ShapeError,
} from './answer-path.ts'
import { addressFor, follow, originOf } from './source-address.ts'
import { ask, type SourceLine, type SourceReply } from './source-request.ts'

/** Longest page read. 20 000 roles of forty characters fit. */
const MAX_PAGE_BYTES = 1024 * 1024
/** How often a list is read that changes while it is read. */
const READS = 2

/** RFC 9110 §8.8.3; only a strong one: a weak one may stay while the roles change. */
const STRONG_ETAG = /^"[\x21\x23-\x7e\x80-\xff]*"$/

/** Reads the roles of one user at one source, as {@link EntitlementSource.rolesOf} promises. */
export type ReadRoles = (
  user: string,
  maxRoles: number,
  signal: AbortSignal,
) => Promise<SourceAnswer>

/** One look-up under way. */
interface Look {
  readonly user: string
  readonly maxRoles: number
  readonly signal: AbortSignal
}

/** A page and the validator it came with. */
interface Read {
  readonly address: URL
  readonly etag: string
}

/** The state of the list a page was read from, as the source names it; undefined when the source is not asked for one. */
type StateOf = (reply: SourceReply) => string | number | undefined

/**
 * A reader of one source. What it gives is one state of the list: when pages belong to two, the list is read once more, and then given up.
 * @throws {ShapeError | AddressError} when the configuration names no usable path or address.
 */
export function createPages(line: SourceLine): ReadRoles {
  const { source } = line
  const { consistency } = source
  const origin = originOf(source.url)
  const rolesPath = compilePathToList(source.rolesPath)
  const nextPath = optionalPath(source.nextPagePath)
  const echoPath = optionalPath(source.echoPath)
  const stateOf = stateReader(consistency)

  return async (user, maxRoles, signal) => {
    for (let left = READS; left > 0; left -= 1) {
      const answer = await readOnce({ user, maxRoles, signal })
      if (answer !== 'changed') return answer
    }
    const message = 'the list changed while it was read, and again while it was read anew'
    // Most likely a busy moment, and no roles came of it.
    throw new SourceFailure(source.name, 'contract', message, undefined, { retryable: true })
  }

  async function readOnce(look: Look): Promise<SourceAnswer | 'changed'> {
    const { user, maxRoles, signal } = look
    const roles: string[] = []
    const visited = new Set<string>()
    const read: Read[] = []
    let state: string | number | undefined
    let address = addressFor(source.url, user)
    for (let page = 1; page <= source.maxPages; page += 1) {
      // Would go on for ever if the pages also changed, and with the same pages it is no list.
      if (visited.has(address.href)) throw new ShapeError('the pages lead back to one already read')
      visited.add(address.href)

      const reply = await readPage(address, page, signal)
      if (reply === undefined) return { known: false }
      const { document } = reply
      if (echoPath !== undefined && optionalAt(document, echoPath) !== user)
        throw new ShapeError('the answer is not about the user asked for')
      const named = stateOf(reply)
      if (page > 1 && named !== state) return 'changed'
      state = named
      collectStrings(document, rolesPath, roles, maxRoles)

      const next = linkIn(document, nextPath)
      if (next === undefined)
        return (await isUnchanged(read, signal)) ? { known: true, roles } : 'changed'
      if (consistency.kind === 'recheck') read.push({ address, etag: etagOf(reply.headers) })
      address = follow(next, address, origin)
    }
    throw new ShapeError(`more than ${source.maxPages} pages`)
  }

  /** The page, or undefined when the source says that it does not know the user. */
  async function readPage(
    address: URL,
    page: number,
    signal: AbortSignal,
  ): Promise<SourceReply | undefined> {
    // Only the first page can say so: a user who was there a moment ago is a list that broke off.
    const also = page === 1 ? [404] : []
    const question = { what: `page ${page}`, address, also, maxBytes: MAX_PAGE_BYTES }
    const reply = await ask(line, question, signal)
    return reply.status === 404 ? undefined : reply
  }

  /**
   * Whether every page but the last is still what it was. Each was then the same from before the last page was read until after it, so all
   * of them together were the list at the moment the last page was read. The first page alone would not do: a role that moves from the
   * second to the third page, read in between, would be lost and leave the first page as it was.
   */
  async function isUnchanged(read: readonly Read[], signal: AbortSignal): Promise<boolean> {
    for (const [index, { address, etag }] of read.entries()) {
      const what = `page ${index + 1} once more`
      const headers = { 'if-none-match': etag }
      const question = { what, address, headers, also: [304, 404], maxBytes: MAX_PAGE_BYTES }
      const reply = await ask(line, question, signal)
      if (reply.status === 404) return false
      if (reply.status === 200 && etagOf(reply.headers) !== etag) return false
    }
    return true
  }
}

function optionalPath(path: string | undefined): readonly string[] | undefined {
  return path === undefined ? undefined : compilePathToOne(path)
}

function linkIn(document: unknown, path: readonly string[] | undefined): string | undefined {
  const link = path === undefined ? undefined : optionalAt(document, path)
  if (link === undefined || link === '') return undefined
  if (typeof link !== 'string') throw new ShapeError('the next page is not a text')
  return link
}

function stateReader(consistency: Consistency): StateOf {
  if (consistency.kind !== 'snapshot') return () => undefined
  const { at } = consistency
  if ('path' in at) {
    const path = compilePathToOne(at.path)
    return ({ document }) => mustName(optionalAt(document, path))
  }
  const name = at.header.toLowerCase()
  return ({ headers }) => mustName(headers[name])
}

/** Asked of every page, the only one too: a path that leads nowhere is noticed at the first look-up and not at the first change. */
function mustName(state: unknown): string | number {
  if (typeof state === 'string' && state !== '') return state
  // Beyond them two numbers may be read as one.
  if (Number.isSafeInteger(state)) return Number(state)
  throw new ShapeError('the page does not name the state it was read from')
}

function etagOf(headers: IncomingHttpHeaders): string {
  // undici gives an array when the field came twice.
  const etag: unknown = headers.etag
  if (typeof etag !== 'string' || !STRONG_ETAG.test(etag))
    throw new ShapeError('the page has no strong ETag to ask again with')
  return etag
}
