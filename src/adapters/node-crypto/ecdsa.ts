/**
 * ECDSA signatures come out of OpenSSL as DER (`SEQUENCE { INTEGER r, INTEGER s }`); JWS wants the two numbers side by side
 * at fixed length (RFC 7518 §3.4). Node can convert (`dsaEncoding: 'ieee-p1363'`), but on Node 24 that doubles the cost
 * of an ES256 signature, so it is done here.
 */

const SEQUENCE = 0x30
const INTEGER = 0x02

/**
 * `R‖S` of a DER signature, each number `size` bytes, left-padded with zeros.
 *
 * Strict: minimal positive integers, nothing before, between or after. Lengths are one byte, which is enough for a `size`
 * up to 61 (P-384 has 48).
 * A signature that is not exactly so is a bug below us and must not leave the house.
 *
 * @throws {TypeError} when `der` is anything else.
 */
export function derToRaw(der: Uint8Array, size: number): Buffer {
  const raw = Buffer.alloc(2 * size)
  if (der[0] !== SEQUENCE || der[1] !== der.length - 2) throw malformed()
  const afterR = copyInteger(der, 2, raw, 0, size)
  const afterS = copyInteger(der, afterR, raw, size, size)
  if (afterS !== der.length) throw malformed()
  return raw
}

/** Copies the INTEGER that starts at `from` into its field of `raw`; gives the position after it. */
function copyInteger(
  der: Uint8Array,
  from: number,
  raw: Buffer,
  field: number,
  size: number,
): number {
  const length = der[from + 1] ?? 0
  const end = from + 2 + length
  // A length that reaches past the end shows at the caller: nothing is left for s, or the end is not where it must be.
  if (der[from] !== INTEGER || length === 0) throw malformed()

  let start = from + 2
  const first = der[start] ?? 0
  if (first > 0x7f) throw malformed() // negative
  if (first === 0) {
    // A leading zero is there to keep a high bit from meaning "negative", or the number is 0, which no signature has.
    if (length === 1 || (der[start + 1] ?? 0) <= 0x7f) throw malformed()
    start += 1
  }
  if (end - start > size) throw malformed()
  raw.set(der.subarray(start, end), field + size - (end - start))
  return end
}

function malformed(): TypeError {
  return new TypeError('malformed DER signature')
}
