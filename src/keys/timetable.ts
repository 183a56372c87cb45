import type { RenderedJwks } from './jwks.ts'
import { dueFrom, type Ring, type RingPolicy, retirableFrom } from './ring.ts'

/** A JWK Set and how long verifiers may keep it. */
export interface ServedJwks extends RenderedJwks {
  /** `max-age` of the answer, seconds (RFC 9111 §5.2.2.1). */
  readonly maxAgeSeconds: number
  /** `stale-if-error` of the answer, seconds (RFC 5861 §4). */
  readonly staleIfErrorSeconds: number
}

/** `max-age` shrinks to this part of itself at most: a change that comes near must not bring every verifier every second. */
const LEAST_SHARE = 0.1

/** When the ring will change by itself next, or undefined when nothing is planned (milliseconds since the epoch). */
export function nextChangeAt(ring: Ring, policy: RingPolicy, now: number): number | undefined {
  const planned = ring.keys.flatMap((key) => {
    if (key.state === 'active') return [dueFrom(key, policy)]
    return key.state === 'verify-only' ? [retirableFrom(key, policy)] : []
  })
  const coming = planned.filter((at) => at > now)
  return coming.length === 0 ? undefined : Math.min(...coming)
}

/** The JWK Set as it is answered now: near a planned change it is to be kept for no longer than up to that. */
export function servedJwks(
  jwks: RenderedJwks,
  ring: Ring,
  options: RingPolicy & {
    readonly jwksMaxAgeSeconds: number
    readonly jwksStaleIfErrorSeconds: number
  },
  now: number,
): ServedJwks {
  const { jwksMaxAgeSeconds: most, jwksStaleIfErrorSeconds: staleIfErrorSeconds } = options
  const at = nextChangeAt(ring, options, now)
  const left = at === undefined ? most : Math.ceil((at - now) / 1000)
  const least = Math.max(1, Math.floor(most * LEAST_SHARE))
  return { ...jwks, maxAgeSeconds: Math.min(most, Math.max(least, left)), staleIfErrorSeconds }
}
