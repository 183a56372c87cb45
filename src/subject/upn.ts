import { Refusal } from '../lib/refusal.ts'
import { missing } from './claims.ts'
import type { Claims } from './jws.ts'
import type { Idp } from './options.ts'

/** How the entitlement sources know the user, and the user principal name where the IdP sends one. */
export interface UserName {
  readonly user: string
  readonly upn: string | undefined
}

const MAX_UPN_CHARACTERS = 254
/**
 * `local@domain` in ASCII only: the local part of RFC 5322 `atext` and dots, the domain of LDH labels. ASCII leaves no homoglyphs
 * (Cyrillic а for a), no bidi and no second normal form; what remains cannot break out of a URL path, an LDAP filter or a header
 * once it is encoded for them.
 */
const UPN =
  /^[A-Za-z0-9._%+'\-!#$&*/=?^`{|}~]+@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)$/

/**
 * The name of the user: the value of the claim this IdP is configured with. Never another claim in its place: a fallback is how one
 * person becomes another (CVE-2026-96447).
 *
 * @throws {Refusal} `missing_claim`, `invalid_upn`
 */
export function readUserName(payload: Claims, sub: string, idp: Idp): UserName {
  if (idp.userClaim === 'sub') return { user: sub, upn: undefined }
  const value = payload[idp.userClaim]
  if (value === undefined || value === null) throw missing(idp.userClaim)
  const match =
    typeof value === 'string' && value.length <= MAX_UPN_CHARACTERS ? UPN.exec(value) : null
  if (match === null) {
    throw new Refusal(
      'invalid_upn',
      'The token carried a user principal name that is not of the form name@domain.',
    )
  }
  const [upn, domain = ''] = match
  if (idp.upnDomains !== undefined && !idp.upnDomains.includes(domain.toLowerCase())) {
    throw new Refusal(
      'invalid_upn',
      'The token carried a user principal name of a domain that its issuer may not speak for.',
    )
  }
  return { user: upn, upn }
}

/** The name under which a UPN is pinned to its first owner: case does not make it another name. */
export function upnPinKey(upn: string): string {
  return upn.toLowerCase()
}
