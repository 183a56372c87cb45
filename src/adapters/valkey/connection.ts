/**
 * ioredis with its traps covered; each is a test in test/integration/valkey.test.ts.
 *
 * - A server that is frozen takes commands and never answers: ioredis gives them up after `commandTimeout` and keeps them in its queue all the
 *   same. Here the first command that is late ends the connection, and no more than `mostInFlight` wait at a time.
 * - By default commands are kept while there is no connection, and sent again after a reconnect: a caller would wait for a dead server, and a
 *   request would be counted twice.
 * - Options in the query of a URL overrule those of the program, an error carries the command with its password, and without a listener it is
 *   printed with the address. So the URL is read here and no error of ioredis leaves this file.
 */
import { isIP } from 'node:net'
import { Redis, type RedisOptions } from 'ioredis'
import type { Random } from '../../lib/id.ts'
import type { Secret } from '../../lib/secret.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import { waitUnder } from '../../resilience/deadline.ts'
import type { Upstream } from '../../resilience/upstream.ts'

/** How Valkey (or Redis from version 6 on) is reached. */
export interface ValkeyOptions {
  /** `redis://`, `valkey://`, or with TLS `rediss://`, `valkeys://`; with user, password and database where there are any, and no query. */
  readonly url: Secret
  /** Longest wait of a caller. */
  readonly timeoutMilliseconds?: number
  /** For TCP and TLS, and again for the greeting. */
  readonly connectMilliseconds?: number
  readonly mostInFlight?: number
}

/** What a connection is given. */
export interface ValkeyDeps {
  /** Keeps callers from a server that fails. */
  readonly upstream: Pick<Upstream, 'call'>
  readonly random: Random
  /** Told when it can be used, and when it no longer can, with a reason that names no address. For the log. */
  readonly changed?: ((up: boolean, reason: string) => void) | undefined
}

/** A script that runs in the server, in one step. */
export interface LuaScript {
  readonly sha1: string
  readonly text: string
}

/** A connection that commands go through. */
export interface Valkey {
  /**
   * Runs a script. Its strings come as buffers, its numbers as numbers.
   * @throws {DependencyUnavailable} when there is no answer in time, or it is an error; the reason of `signal` when that fires first.
   */
  run(
    script: LuaScript,
    keys: readonly string[],
    args: readonly (string | number | Buffer)[],
    signal: AbortSignal,
  ): Promise<unknown>
  /** Ends the connection at once. */
  close(): Promise<void>
}

const TIMEOUT_MILLISECONDS = 50
const CONNECT_MILLISECONDS = 1000
/** Commands that may wait for their answers at a time. */
export const MOST_IN_FLIGHT = 1024
const FIRST_BACKOFF_MILLISECONDS = 50
const LONGEST_BACKOFF_MILLISECONDS = 2000
/** How long a socket may take to close politely: a frozen server would take for ever. */
const DISCONNECT_MILLISECONDS = 1

/** Opens a connection; it connects, and reconnects, by itself. @throws {TypeError} when the URL is none for Valkey. */
export function createValkey(
  { upstream, random, changed }: ValkeyDeps,
  options: ValkeyOptions,
): Valkey {
  const link = openLink({ random, changed }, options)
  return {
    async run(script, keys, args, signal) {
      signal.throwIfAborted()
      try {
        const answered = upstream.call(() => runScript(link, script, keys, args))
        return await waitUnder(answered, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof DependencyUnavailable) throw error
        throw new DependencyUnavailable('the cache is not asked at the moment', { cause: error })
      }
    },
    close: link.close,
  }
}

async function runScript(
  link: Link,
  { sha1, text }: LuaScript,
  keys: readonly string[],
  args: readonly (string | number | Buffer)[],
): Promise<unknown> {
  const rest = [keys.length, ...keys, ...args]
  try {
    return await link.send((redis) => redis.callBuffer('EVALSHA', sha1, ...rest))
  } catch (error) {
    // The server was restarted, or its scripts were flushed.
    if (error instanceof DependencyUnavailable && error.cause === NOSCRIPT)
      return link.send((redis) => redis.callBuffer('EVAL', text, ...rest))
    throw error
  }
}

const NOSCRIPT = 'NOSCRIPT'

/** A client of ioredis, and the only way to use it. */
export interface Link {
  /** Sends one command. @throws {DependencyUnavailable} */
  readonly send: <T>(command: (redis: Redis) => Promise<T>) => Promise<T>
  readonly close: () => Promise<void>
}

/** Opens a client that keeps itself connected; `ready` is called each time it is, before anybody else may send. */
export function openLink(
  { random, changed }: Pick<ValkeyDeps, 'random' | 'changed'>,
  options: ValkeyOptions,
  ready?: (redis: Redis) => void,
): Link {
  const { timeoutMilliseconds = TIMEOUT_MILLISECONDS, mostInFlight = MOST_IN_FLIGHT } = options
  const redis = new Redis(optionsOf(options, random))
  let inFlight = 0
  let up = false
  let dropping = false
  let closed = false
  let lastFailure = 'closed'

  const turn = (to: boolean, reason: string): void => {
    if (to === up) return
    up = to
    if (!closed) changed?.(to, reason)
  }
  redis.on('error', (error: unknown) => {
    lastFailure = reasonOf(error)
  })
  redis.on('ready', () => {
    ready?.(redis)
    turn(true, 'connected')
  })
  redis.on('close', () => {
    dropping = false
    turn(false, lastFailure)
  })

  /** Ends the connection: what was sent on it will be answered late or never, and answers come in the order of the commands. */
  function drop(): void {
    if (dropping) return
    dropping = true
    lastFailure = 'no answer in time'
    turn(false, lastFailure)
    redis.disconnect(true)
  }

  /** What comes first: the answer, or the end of our patience with the connection. */
  async function inTime<T>(answer: Promise<T>): Promise<T> {
    const patience = Promise.withResolvers<never>()
    let check: NodeJS.Immediate | undefined
    const late = (): void => {
      patience.reject(unavailable('no answer in time'))
      drop()
    }
    // When this process was busy for long, timers come before what the network brought meanwhile: look at that first.
    const timer = setTimeout(() => {
      check = setImmediate(late)
    }, timeoutMilliseconds)
    try {
      return await Promise.race([answer, patience.promise])
    } catch (error) {
      throw error instanceof DependencyUnavailable ? error : unavailable(reasonOf(error))
    } finally {
      clearTimeout(timer)
      clearImmediate(check)
    }
  }

  return {
    send: async (command) => {
      if (!up || dropping || closed) throw unavailable('not connected')
      if (inFlight >= mostInFlight) throw unavailable('too many commands wait')
      inFlight += 1
      // A late answer still takes its place in the queue of ioredis, until it comes or the connection is gone.
      const answer = command(redis).finally(() => {
        inFlight -= 1
      })
      return inTime(answer)
    },
    close: async () => {
      closed = true
      const { stream } = redis
      redis.disconnect()
      stream?.destroy()
    },
  }
}

function optionsOf(
  { url, timeoutMilliseconds, connectMilliseconds }: ValkeyOptions,
  random: Random,
): RedisOptions & { replyMapping: 'legacy' } {
  const connect = connectMilliseconds ?? CONNECT_MILLISECONDS
  return {
    ...readUrl(url),
    connectTimeout: connect,
    // Bounds the greeting: connections to a frozen server are made by its kernel, and then nothing comes. Callers wait `timeoutMilliseconds`.
    commandTimeout: Math.max(connect, timeoutMilliseconds ?? 0),
    disconnectTimeout: DISCONNECT_MILLISECONDS,
    retryStrategy: (attempt) => backoff(attempt, random),
    replyMapping: 'legacy',
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    // The greeting tells that it is alive, and INFO would be one right more to be granted. While it loads, it answers LOADING.
    enableReadyCheck: false,
    disableClientInfo: true,
  }
}

const SCHEMES = new Map([
  ['redis:', false],
  ['valkey:', false],
  ['rediss:', true],
  ['valkeys:', true],
])

/** @throws {TypeError} without the URL in it: that holds the password. */
function readUrl(secret: Secret): RedisOptions {
  const text = secret.reveal()
  const url = URL.canParse(text) ? new URL(text) : undefined
  const tls = SCHEMES.get(url?.protocol ?? '')
  const database = /^\/?(\d{0,4})$/.exec(url?.pathname ?? '')?.[1]
  if (!url || tls === undefined || url.hostname === '' || database === undefined)
    throw new TypeError('the address of the cache is not redis(s)://HOST:PORT/DATABASE')
  if (url.search !== '' || url.hash !== '')
    throw new TypeError('the address of the cache has a query or a fragment; it must have neither')
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return {
    host,
    ...(url.port === '' ? {} : { port: Number(url.port) }),
    db: Number(database),
    ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
    ...(tls ? { tls: isIP(host) === 0 ? { servername: host } : {} } : {}),
  }
}

/** Doubles up to two seconds, half of it random: replicas that lost it together must not return together. */
function backoff(attempt: number, random: Random): number {
  const most = Math.min(
    FIRST_BACKOFF_MILLISECONDS * 2 ** (attempt - 1),
    LONGEST_BACKOFF_MILLISECONDS,
  )
  return Math.ceil(most / 2 + (random.bytes(2).readUInt16BE() / 2 ** 16) * (most / 2))
}

/** What went wrong, in a word or a few: the code of the system, the first word of the server's error (`NOAUTH`, `LOADING`), or the kind. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'failed'
  if ('code' in error && typeof error.code === 'string') return error.code
  return /^[A-Z]{2,20}(?= |$)/.exec(error.message)?.[0] ?? error.name
}

function unavailable(reason: string): DependencyUnavailable {
  return new DependencyUnavailable(`the cache gave no answer: ${reason}`, { cause: reason })
}
