import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import {
  type Claims,
  checkTokenSize,
  type JwsHeader,
  type JwsLimits,
  parseCompactJws,
} from './jws.ts'
import type { VerificationKey } from './keys.ts'
import { verifySignature } from './signature.ts'
import type { Judged, OwnClaims } from './verified.ts'

/** Bounds of the verified-token cache. */
export interface VerifiedCacheOptions {
  readonly maxEntries: number
  /** Longest time an entry serves; a token's `exp` ends it earlier. */
  readonly lifeMilliseconds: number
}

export const VERIFIED_CACHE_DEFAULTS: VerifiedCacheOptions = {
  maxEntries: 10_000,
  lifeMilliseconds: 60_000,
}

/** A token whose form is right. Whether it is genuine, {@link VerifiedCache.confirm} says. */
export interface OpenedToken extends JwsHeader {
  readonly payload: Claims
  /** Its name in the cache. */
  readonly name: string
  /** The key that verified it a moment ago; undefined when that has yet to be done. */
  readonly verifiedBy: VerificationKey | undefined
  /** What else was found out about it, shared with its entry in the cache and gone with it. */
  readonly memory: TokenMemory
}

/** Written by whoever found it out. Fields and not a WeakMap: with many tokens that is what the garbage collector would be busy with. */
export interface TokenMemory {
  /** What was made of the token of an IdP, and under which circumstances. */
  judged: Judged | undefined
  /**
   * Claims of a token of our own that the ledger was seen to hold. A record is never taken back, so what was recorded once need not be
   * asked for again while the entry lives; that a token is not recorded is never remembered.
   */
  recorded: OwnClaims | undefined
}

/**
 * Spares the parsing and the signature check of a token that was found genuine a moment ago; nothing else. Issuer, algorithm, times,
 * audience, type and once-only ids are judged on every use.
 *
 * - Key: tenant and SHA-256 of the whole token, signature included. A shorter digest, or one of header and payload only, would hand one
 *   token's verdict to another (CVE-2026-35039). The issuer need not be part of it: it is inside the token.
 * - Bound to the very {@link VerificationKey} object that verified it. A key that was re-read, withdrawn or replaced is another
 *   object, so its tokens are verified again.
 * - Holds genuine tokens only, so forgeries cannot fill it. At most 10,000 entries, for at most 60 s and never past `exp`.
 */
export interface VerifiedCache {
  /**
   * Reads a token, from memory if it was confirmed before.
   * @throws {Refusal} as {@link parseCompactJws}
   */
  open(tenant: string, token: string, limits: JwsLimits): OpenedToken
  /**
   * Makes sure that `key` signed this token, by the memory of having checked it or by checking.
   * @throws {Refusal} `invalid_signature`
   */
  confirm(token: string, opened: OpenedToken, key: VerificationKey): void
}

interface Entry {
  readonly opened: OpenedToken
  readonly since: number
  readonly until: number
}

/** The verified-token cache of this process. */
export function createVerifiedCache(
  { clock }: { readonly clock: Clock },
  options: VerifiedCacheOptions = VERIFIED_CACHE_DEFAULTS,
): VerifiedCache {
  const entries = new LRUCache<string, Entry>({ max: options.maxEntries })

  // Times are compared here, not by the library's own timer, so that the injected clock decides.
  function remembered(name: string): OpenedToken | undefined {
    const entry = entries.get(name)
    if (entry === undefined) return undefined
    const now = clock.now()
    if (now >= entry.since && now < entry.until) return entry.opened
    entries.delete(name)
    return undefined
  }

  return {
    open(tenant, token, limits) {
      // Before the digest: what is too long is not worth hashing, and a limit lowered a moment ago holds at once.
      if (token.length > limits.tokenBytes) checkTokenSize(token, limits)
      const name = `${tenant} ${hash('sha256', token, 'base64url')}`
      const known = remembered(name)
      if (known !== undefined) return known
      const { alg, kid, typ, payload } = parseCompactJws(token, limits)
      const memory = { judged: undefined, recorded: undefined }
      return { alg, kid, typ, payload, name, verifiedBy: undefined, memory }
    },
    confirm(token, opened, key) {
      if (opened.verifiedBy === key) return
      const end = token.lastIndexOf('.')
      if (
        !verifySignature(key, token.slice(0, end), Buffer.from(token.slice(end + 1), 'base64url'))
      ) {
        throw new Refusal(
          'invalid_signature',
          'The signature of the token did not verify with the key that the token names.',
        )
      }
      const now = clock.now()
      const { exp } = opened.payload
      const until = Math.min(
        now + options.lifeMilliseconds,
        typeof exp === 'number' ? exp * 1000 : now,
      )
      entries.set(opened.name, { opened: { ...opened, verifiedBy: key }, since: now, until })
    },
  }
}
