import { Refusal } from '../lib/refusal.ts'

const SENTENCE =
  'Client authentication failed. Check the client id, the method it is registered for and its credential.'

/**
 * The refusal of a client that did not prove who it is: one sentence for every reason, so that nobody learns from it
 * which clients exist, are disabled, or use which method. The reason is for the log.
 */
export function notAuthenticated(reason: string, cause?: unknown): Refusal {
  return new Refusal('client_auth_failed', SENTENCE, {
    cause: new Error(reason, cause === undefined ? undefined : { cause }),
  })
}
