import { createHmac } from 'node:crypto'
import { decrypt, encrypt } from '../../lib/aead.ts'
import type { Random } from '../../lib/id.ts'
import type { Secret } from '../../lib/secret.ts'

/** Whom and what a sealed text is about; NUL separates the parts and occurs in none. */
type Place = readonly string[]

const NAME_CHARACTERS = 22

/** A name that hides what it stands for: HMAC-SHA256, 132 bits of it. */
export function hiddenName(key: Secret<Buffer>, ...parts: Place): string {
  const name = createHmac('sha256', key.reveal()).update(parts.join('\0')).digest('base64url')
  return name.slice(0, NAME_CHARACTERS)
}

/**
 * Seals for one place with AES-256-GCM, under a key of that place's own: a secret that lives for years seals more than the 2^32 times that
 * random nonces allow one key (NIST SP 800-38D §8.3), and what is moved to another place does not open.
 */
export function seal(key: Secret<Buffer>, place: Place, plain: unknown, random: Random): Buffer {
  return withKeyOf(key, place, (own, about) =>
    encrypt(own, Buffer.from(JSON.stringify(plain)), about, random),
  )
}

/** What was sealed for this place under this key; undefined for anything else. */
export function unseal(key: Secret<Buffer>, place: Place, sealed: Uint8Array): unknown {
  return withKeyOf(key, place, (own, about) => {
    try {
      return JSON.parse(decrypt(own, sealed, about).toString()) as unknown
    } catch {
      return undefined
    }
  })
}

function withKeyOf<T>(
  key: Secret<Buffer>,
  place: Place,
  use: (own: Buffer, about: Buffer) => T,
): T {
  const about = Buffer.from(place.join('\0'))
  const own = createHmac('sha256', key.reveal()).update(about).digest()
  try {
    return use(own, about)
  } finally {
    own.fill(0)
  }
}
