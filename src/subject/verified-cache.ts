import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import {
  type Claims,
  checkTokenSize,
  type JwsEnvelope,
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
  /**
   * How often a token must have come before it is kept. Most tokens come once: keeping those costs more, in the garbage collector and
   * in memory, than it ever spares.
   */
  readonly keepFrom: 'first sight' | 'second sight'
}

export const VERIFIED_CACHE_DEFAULTS: VerifiedCacheOptions = {
  maxEntries: 10_000,
  lifeMilliseconds: 60_000,
  keepFrom: 'second sight',
}

/** Places for what was seen once, four bytes each. More tokens than this between two sights of one, and it stays unknown. */
const SEEN_ONCE = 32_768
/** Headers read before: as many as keys sign, and IdPs that number their tokens in the header do no harm. */
const MAX_HEADERS = 512
const LONGEST_HEADER = 512

/** A token whose form is right. Whether it is genuine, {@link VerifiedCache.confirm} says. */
export interface OpenedToken extends JwsHeader {
  readonly payload: Claims
  /** Its name in the cache. */
  readonly name: string
  /** The key that verified it a moment ago; undefined when that has yet to be done. */
  readonly verifiedBy: VerificationKey | undefined
  /** What else was found out about it, shared with its entry in the cache and gone with it. */
  readonly memory: TokenMemory
  /** What is left to check; undefined once it was. */
  readonly proof: Pick<JwsEnvelope, 'signingInput' | 'signature'> | undefined
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
 * - Holds genuine tokens only, and those from their second sight on, so forgeries cannot fill it. At most 10,000 entries, for at most
 *   60 s and never past `exp`.
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
  const headers = new Map<string, JwsHeader>()
  const wasSeen = options.keepFrom === 'first sight' ? () => true : createSeenOnce()

  // Times are compared here, not by the library's own timer, so that the injected clock decides.
  function remembered(name: string): OpenedToken | undefined {
    const entry = entries.get(name)
    if (entry === undefined) return undefined
    const now = clock.now()
    if (now >= entry.since && now < entry.until) return entry.opened
    entries.delete(name)
    return undefined
  }

  /** Only what stood in a genuine token, so that nobody else can fill the memory. */
  function rememberHeader(token: string, { alg, kid, typ }: JwsHeader): void {
    const end = token.indexOf('.')
    if (end > LONGEST_HEADER || headers.has(token.slice(0, end))) return
    if (headers.size >= MAX_HEADERS) headers.clear()
    // A copy of the characters: a slice would keep the whole token in memory.
    headers.set(Buffer.from(token.slice(0, end), 'latin1').toString('latin1'), { alg, kid, typ })
  }

  return {
    open(tenant, token, limits) {
      // Before the digest: what is too long is not worth hashing, and a limit lowered a moment ago holds at once.
      if (token.length > limits.tokenBytes) checkTokenSize(token, limits)
      const name = `${tenant} ${hash('sha256', token, 'base64url')}`
      const known = remembered(name)
      if (known !== undefined) return known
      const parsed = parseCompactJws(token, limits, headers)
      const { alg, kid, typ, payload } = parsed
      const memory = { judged: undefined, recorded: undefined }
      return { alg, kid, typ, payload, name, verifiedBy: undefined, memory, proof: parsed }
    },
    confirm(token, opened, key) {
      if (opened.verifiedBy === key) return
      const { signingInput, signature } = opened.proof ?? signedParts(token)
      if (!verifySignature(key, signingInput, signature)) {
        throw new Refusal(
          'invalid_signature',
          'The signature of the token did not verify with the key that the token names.',
        )
      }
      rememberHeader(token, opened)
      if (!wasSeen(opened.name)) return
      const { alg, kid, typ, payload, name, memory } = opened
      const now = clock.now()
      const { exp } = payload
      const until = Math.min(
        now + options.lifeMilliseconds,
        typeof exp === 'number' ? exp * 1000 : now,
      )
      // Without the proof, which is the token's own text.
      const kept = { alg, kid, typ, payload, name, verifiedBy: key, memory, proof: undefined }
      entries.set(name, { opened: kept, since: now, until })
    },
  }
}

/** For a token that was verified by another key before. */
function signedParts(token: string): Pick<JwsEnvelope, 'signingInput' | 'signature'> {
  const end = token.lastIndexOf('.')
  return {
    signingInput: token.slice(0, end),
    signature: Buffer.from(token.slice(end + 1), 'base64url'),
  }
}

/**
 * Says of a name whether it came before, and notes that it has now. One number a place, so it is bounded and nothing for the garbage
 * collector; two names in one place forget each other, and a false yes only means that a token is kept from its first sight.
 */
function createSeenOnce(): (name: string) => boolean {
  const seen = new Uint32Array(SEEN_ONCE)
  return (name) => {
    let mixed = 0
    // The tenant and the first 16 characters of a SHA-256 tell as much as all of it.
    for (let at = 0; at < name.length - 27; at += 1)
      mixed = Math.imul(mixed ^ name.charCodeAt(at), 0x9e3779b1)
    const place = (mixed >>> 8) % SEEN_ONCE
    const mark = mixed >>> 0
    if (seen[place] === mark) return true
    seen[place] = mark
    return false
  }
}
