import { decodeProtectedHeader } from 'jose'
import type { Clock } from '../lib/clock.ts'
import type { Secret } from '../lib/secret.ts'
import { EXIT } from './exit-codes.ts'
import { CommandFailure } from './terminal.ts'
import { exchangeToken, introspectToken } from './token-requests.ts'

/** Somebody who may call the public endpoints. */
export interface DrillClient {
  readonly client: string
  readonly secret: Secret
}

/** How a replica is asked. */
export interface DrillQuestions {
  readonly exchanger: DrillClient
  /** May introspect what `exchanger` gets. */
  readonly resource: DrillClient
  /** Subject tokens that outlive the drill and may be exchanged more than once; used in turn. */
  readonly subjects: readonly Secret[]
  readonly audience: readonly string[]
  /** How often each question is asked of each replica: the measure is no finer than that. */
  readonly intervalMilliseconds: number
}

/** What a watch needs. */
export interface WatchDeps {
  readonly fetch: typeof fetch
  /** Must never step back. */
  readonly monotonic: Clock
  /** Resolves after so many milliseconds. */
  readonly pause: (milliseconds: number) => Promise<void>
}

/** What is looked at: whom tokens are signed by, what JWKS names, what introspection says. */
export const SIGHTS = ['exchange', 'jwks', 'introspection'] as const

/** One of them. */
type Sight = (typeof SIGHTS)[number]

/** What the answers to one question said so far. Times are of the monotonic clock. */
export interface Seen {
  /** The last answer that still had to do with the watched key. */
  readonly badAt: number | undefined
  /** The first answer that had not. */
  readonly goodAt: number | undefined
  /** The first answer since when none had. */
  readonly goodSince: number | undefined
  readonly answers: number
  readonly failures: number
  readonly lastFailure: string | undefined
}

/** A replica that is being watched. */
export interface Watch {
  readonly replica: string
  readonly seen: Readonly<Record<Sight, Seen>>
  stop(): void
  /** Resolves once no question is under way any more. */
  readonly ended: Promise<unknown>
}

const REQUEST_MILLISECONDS = 2000

/** One exchange at a replica. @throws {CommandFailure} as the server answers. */
export function tokenFrom(
  deps: WatchDeps,
  questions: DrillQuestions,
  replica: string,
  turn: number,
): Promise<Secret> {
  const { exchanger, subjects, audience } = questions
  const subject = subjects[turn % subjects.length]
  if (!subject) throw new CommandFailure(EXIT.usage, 'give at least one subject token')
  return exchangeToken(hurried(deps), { server: replica, ...exchanger, subject, audience })
}

/** The kid of a token. */
export function kidOf(token: Secret): string {
  return decodeProtectedHeader(token.reveal()).kid ?? ''
}

/** Begins to ask a replica, again and again, whether it still has to do with the key `kid`, which signed `token`. */
export function watchReplica(
  deps: WatchDeps,
  questions: DrillQuestions,
  { replica, token, kid }: { replica: string; token: Secret; kid: string },
): Watch {
  const terminal = hurried(deps)
  let turn = 0
  const end = new AbortController()
  const asks: Readonly<Record<Sight, () => Promise<boolean>>> = {
    async exchange() {
      turn += 1
      return kidOf(await tokenFrom(deps, questions, replica, turn)) === kid
    },
    async jwks() {
      return (await kidsAt(terminal, replica)).includes(kid)
    },
    async introspection() {
      const asked = { server: replica, ...questions.resource, token }
      return (await introspectToken(terminal, asked))['active'] === true
    },
  }
  const seen = { exchange: unseen(), jwks: unseen(), introspection: unseen() }

  async function watch(sight: Sight): Promise<void> {
    while (!end.signal.aborted) {
      const before = seen[sight]
      try {
        const isBad = await asks[sight]()
        seen[sight] = withAnswer(before, isBad, deps.monotonic.now())
      } catch (error) {
        const lastFailure = error instanceof Error ? error.message : String(error)
        seen[sight] = { ...before, failures: before.failures + 1, lastFailure }
      }
      await deps.pause(questions.intervalMilliseconds)
    }
  }

  const ended = Promise.all(SIGHTS.map(watch))
  return { replica, seen, ended, stop: () => end.abort() }
}

function unseen(): Seen {
  return {
    badAt: undefined,
    goodAt: undefined,
    goodSince: undefined,
    answers: 0,
    failures: 0,
    lastFailure: undefined,
  }
}

function withAnswer(before: Seen, isBad: boolean, now: number): Seen {
  const answers = before.answers + 1
  if (isBad) return { ...before, answers, badAt: now, goodSince: undefined }
  const { goodAt = now, goodSince = now } = before
  return { ...before, answers, goodAt, goodSince }
}

async function kidsAt(terminal: Pick<WatchDeps, 'fetch'>, replica: string): Promise<unknown[]> {
  const answer = await terminal.fetch(`${replica}/jwks`, { redirect: 'error' })
  const set: unknown = answer.ok ? await answer.json() : undefined
  if (set === null || typeof set !== 'object' || !('keys' in set) || !Array.isArray(set.keys))
    throw new CommandFailure(EXIT.unreachable, `no key set at ${replica}/jwks`)
  return set.keys.map((key: { kid?: unknown }) => key.kid)
}

/** Requests that take no longer than a drill can wait: one that hangs would hide what comes after it. */
function hurried({ fetch }: WatchDeps): Pick<WatchDeps, 'fetch'> {
  return {
    fetch(input, init) {
      const timeout = AbortSignal.timeout(REQUEST_MILLISECONDS)
      const signal = init?.signal ? AbortSignal.any([init.signal, timeout]) : timeout
      return fetch(input, { ...init, signal })
    },
  }
}
