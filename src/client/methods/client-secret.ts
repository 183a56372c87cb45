import { hash, timingSafeEqual } from 'node:crypto'
import type { Random } from '../../lib/id.ts'
import { Secret } from '../../lib/secret.ts'
import { notAuthenticated } from '../failure.ts'
import type { Client } from '../options.ts'

/** Digests a client may have at once; an unknown client is compared with as many. */
const LIVE_SECRETS = 2
/** The digest of no text that anybody knows. */
const NO_DIGEST = Buffer.alloc(32)

/**
 * Checks a secret (RFC 6749 §2.3.1), whichever of the two ways it was sent.
 *
 * An unknown client, a disabled one, one of another method and a wrong secret cost the same hash and the same
 * comparisons, and all digests are compared even after a match: time tells neither which clients exist nor which secret fitted.
 * @param client as registered, or undefined when there is no such client
 * @throws {Refusal} `client_auth_failed`.
 */
export function checkClientSecret(client: Client | undefined, presented: Secret): Client {
  const digest = secretDigest(presented.reveal())
  const live = client?.auth.method === 'client_secret' ? client.auth.sha256 : []
  let matches = 0
  for (let i = 0; i < Math.max(LIVE_SECRETS, live.length); i += 1) {
    if (timingSafeEqual(digest, live[i] ?? NO_DIGEST)) matches += 1
  }
  if (!client) throw notAuthenticated('a secret for an unknown client')
  if (client.disabled) throw notAuthenticated(`the client ${client.id} is disabled`)
  if (client.auth.method !== 'client_secret')
    throw notAuthenticated(`a secret for the client ${client.id}, which uses ${client.auth.method}`)
  if (matches === 0) throw notAuthenticated(`a wrong secret for the client ${client.id}`)
  return client
}

const SECRET_BYTES = 32
/** Lets secret scanners recognise one that was committed somewhere. */
const PREFIX = 'rms_'

/** A client secret, to be shown once, and the digest that goes into the configuration. */
export interface NewClientSecret {
  readonly secret: Secret
  /** SHA-256 of the whole printed text, base64url. */
  readonly sha256: string
}

/**
 * Makes a client secret of 256 random bits.
 *
 * Because nobody chose it, a plain SHA-256 of it is as hard to reverse as a slow hash, and costs the request path a
 * microsecond instead of letting anybody who sends wrong secrets burn a core.
 */
export function newClientSecret(random: Random): NewClientSecret {
  const text = PREFIX + random.bytes(SECRET_BYTES).toString('base64url')
  return { secret: new Secret(text), sha256: secretDigest(text).toString('base64url') }
}

/** SHA-256 of a secret as it is sent. */
export function secretDigest(text: string): Buffer {
  return hash('sha256', text, 'buffer')
}
