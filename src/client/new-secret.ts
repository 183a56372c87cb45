import { hash } from 'node:crypto'
import type { Random } from '../lib/id.ts'
import { Secret } from '../lib/secret.ts'

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
  return { secret: new Secret(text), sha256: hash('sha256', text, 'base64url') }
}
