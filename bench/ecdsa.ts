const P256_BYTES = 32

/**
 * A DER ECDSA signature over P-256 as JOSE wants it: r and s, 32 bytes each (RFC 7518 §3.4). Only for what we signed
 * ourselves: foreign DER is not checked. `dsaEncoding: 'ieee-p1363'` would spare this, but doubles the cost on Node 24.
 */
export function derToJose(der: Buffer): string {
  const raw = Buffer.alloc(2 * P256_BYTES)
  const rLength = der[3] ?? 0
  const sStart = 4 + rLength + 2
  place(raw, 0, der.subarray(4, 4 + rLength))
  place(raw, P256_BYTES, der.subarray(sStart, sStart + (der[sStart - 1] ?? 0)))
  return raw.toString('base64url')
}

/** DER integers lose leading zeros and gain one when the top bit is set. */
function place(raw: Buffer, start: number, integer: Buffer): void {
  const digits =
    integer.length > P256_BYTES ? integer.subarray(integer.length - P256_BYTES) : integer
  digits.copy(raw, start + P256_BYTES - digits.length)
}
