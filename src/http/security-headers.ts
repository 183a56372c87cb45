/**
 * Headers of every answer (ASVS 5.0 3.4, Fetch standard). There is nothing here for a browser to run, frame or embed,
 * so everything is off.
 */
const ALWAYS = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
} as const

/** One year, for this host alone: what its subdomains speak is not ours to decide (RFC 6797 §6.1). */
const HSTS = 'max-age=31536000'

/** The headers of a listener; `Strict-Transport-Security` only where it speaks TLS itself (RFC 6797 §7.2). */
export function securityHeaders(tls: boolean): Readonly<Record<string, string>> {
  return tls ? { ...ALWAYS, 'strict-transport-security': HSTS } : ALWAYS
}

/** For documents that anybody may read anywhere: keys and metadata. */
export const CROSS_ORIGIN = { 'cross-origin-resource-policy': 'cross-origin' } as const
