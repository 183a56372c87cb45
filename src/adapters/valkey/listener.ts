import { openLink, type ValkeyDeps, type ValkeyOptions } from './connection.ts'

/** What is heard on a channel. */
export interface Hearing {
  readonly message: (message: Buffer) => void
  /** The channel is heard from now on; whatever was said before, the first time or while the connection was away, was missed. */
  readonly missed: () => void
}

/** A connection of its own on which the server speaks: commands and messages on one would wait for each other. */
export interface ValkeyListener {
  readonly close: () => Promise<void>
}

const HEARTBEAT_MILLISECONDS = 5000
/** Nobody waits for this connection, so it may be slow; and each loss costs what the replica remembered. */
const TIMEOUT_MILLISECONDS = 2000

/** Listens to a channel until it is closed, over every reconnect. */
export function listenToValkey(
  deps: Pick<ValkeyDeps, 'random' | 'changed'>,
  options: ValkeyOptions,
  channel: string,
  hearing: Hearing,
): ValkeyListener {
  const patient = { timeoutMilliseconds: TIMEOUT_MILLISECONDS, ...options }
  const link = openLink(deps, patient, (redis) => {
    redis.removeAllListeners('messageBuffer')
    redis.on('messageBuffer', (_channel: Buffer, message: Buffer) => hearing.message(message))
    redis.subscribe(channel).then(hearing.missed, () => redis.disconnect(true))
  })
  // A partition closes nothing: without a question now and then, the silence of a lost connection is that of a quiet day.
  const heartbeat = setInterval(() => {
    link.send((redis) => redis.ping()).catch(() => undefined)
  }, HEARTBEAT_MILLISECONDS)
  heartbeat.unref()
  return {
    close() {
      clearInterval(heartbeat)
      return link.close()
    },
  }
}
