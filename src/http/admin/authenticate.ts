import { createHash, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../lib/clock.ts'
import type { AdminTokenStore } from '../admin-tokens.ts'
import { EdgeError } from '../edge-error.ts'
import { ADMIN_ROLES, type AdminRole } from '../options.ts'
import type { Operator } from '../request-scope.ts'
import { fromStore } from './from-store.ts'

/** Finds out which operator asks. @throws {EdgeError} `admin_unauthenticated`, always the same sentence. */
export type AuthenticateOperator = (
  authorization: string | undefined,
  signal: AbortSignal,
) => Promise<Operator>

const BEARER = /^bearer +([A-Za-z0-9._~+/-]{1,512}=*)$/i

/**
 * Authenticates operators by break-glass token. The store knows hashes alone, and the look-up is by hash, so neither its time
 * nor its content helps anybody who wants to guess a token.
 */
export function createAuthenticateOperator(deps: {
  readonly tokens: Pick<AdminTokenStore, 'find'>
  readonly clock: Clock
}): AuthenticateOperator {
  return async (authorization, signal) => {
    const token = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1]
    if (token === undefined) throw unauthenticated(authorization !== undefined)
    const hash = createHash('sha256').update(token).digest()
    const record = await fromStore(deps.tokens.find(hash, signal))
    // A store that compares by collation or prefix must not decide this.
    if (!record || record.hash.length !== hash.length || !timingSafeEqual(record.hash, hash))
      throw unauthenticated(true)
    if (record.expiresAt <= deps.clock.now()) throw unauthenticated(true)
    return { by: record.by, role: record.role }
  }
}

/** @throws {EdgeError} `admin_forbidden` when the role is below `least`. */
export function mustHaveRole(operator: Operator, least: AdminRole): void {
  if (ADMIN_ROLES.indexOf(operator.role) >= ADMIN_ROLES.indexOf(least)) return
  throw new EdgeError('admin_forbidden', `This needs the role ${least} or a higher one.`, {
    headers: { 'www-authenticate': 'Bearer realm="rolemint-admin", error="insufficient_scope"' },
  })
}

/** RFC 6750 §3.1: no error code when no credential was sent at all. */
export function unauthenticated(credentialSent: boolean): EdgeError {
  const challenge = 'Bearer realm="rolemint-admin"'
  return new EdgeError(
    'admin_unauthenticated',
    'No valid operator credential was sent; send a token as Authorization: Bearer.',
    {
      headers: {
        'www-authenticate': credentialSent ? `${challenge}, error="invalid_token"` : challenge,
      },
    },
  )
}
