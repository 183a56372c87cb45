import { hash } from 'node:crypto'
import type { Claim } from '../audit/ledger.ts'
import { Refusal } from '../lib/refusal.ts'
import type { ActorEvidence, SubjectEvidence } from '../policy/decision.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { type CheckedClaims, isNumericDate, leftOutClaims, wrongType } from './claims.ts'
import { readAct, readMayAct } from './delegation.ts'
import type { Claims } from './jws.ts'
import type { Idp } from './options.ts'
import type { OwnToken } from './own-token.ts'
import { readPresenter } from './presenter.ts'
import { readUserName, upnPinKey } from './upn.ts'
import type { OwnClaims } from './verified.ts'

const MAX_STATEMENT_CHARACTERS = 256
const MAX_METHODS = 32

/** What a genuine token of an IdP says about its subject, as far as the decision depends on it. */
export function idpSubject(
  idp: Idp,
  { sub, iat, exp }: CheckedClaims,
  payload: Claims,
): SubjectEvidence {
  const { user, upn } = readUserName(payload, sub, idp)
  const leftOut = leftOutClaims(payload)
  return {
    idp: idp.name,
    sub: idp.subjectPrefix + sub,
    issuer: idp.issuer,
    user,
    ...(upn === undefined ? {} : { upn }),
    issuedAt: iat,
    expiresAt: exp,
    ...statements(payload),
    ...(leftOut.length === 0 ? {} : { leftOut }),
  }
}

/** What a token of our own says about its subject; its past comes along, so that a new token can be no more than this one. */
export function ownSubject(idp: Idp, { claims, payload }: OwnToken): SubjectEvidence {
  return {
    idp: claims.idp,
    sub: claims.sub,
    issuer: claims.iss,
    user: claims.upn ?? idpSub(idp, claims),
    ...(claims.upn === undefined ? {} : { upn: claims.upn }),
    issuedAt: claims.iat,
    expiresAt: claims.exp,
    ...statements(payload),
    own: {
      jti: claims.jti,
      clientId: claims.clientId,
      originJti: claims.originJti,
      lineage: claims.lineage,
      sessionExp: claims.sessionExp,
      roles: claims.roles,
      scopes: claims.scopes,
      ...(claims.cnf === undefined ? {} : { cnf: claims.cnf }),
    },
  }
}

/** What a genuine token of an IdP says about an actor. */
export function idpActor(idp: Idp, { sub }: CheckedClaims, payload: Claims): ActorEvidence {
  const clientId = readPresenter(payload)
  return {
    idp: idp.name,
    sub: idp.subjectPrefix + sub,
    issuer: idp.issuer,
    ...(clientId === undefined ? {} : { clientId }),
    delegated: readAct(payload) !== undefined,
  }
}

/** What a token of our own says about an actor. */
export function ownActor({ claims }: OwnToken): ActorEvidence {
  return {
    idp: claims.idp,
    sub: claims.sub,
    issuer: claims.iss,
    clientId: claims.clientId,
    delegated: claims.act !== undefined,
  }
}

/** The IdP's own `sub` in a token of ours: what is left of it without our prefix. @throws {Refusal} `malformed_token` */
export function idpSub(idp: Idp, { sub }: OwnClaims): string {
  if (!sub.startsWith(idp.subjectPrefix) || sub.length === idp.subjectPrefix.length)
    throw wrongType('sub', 'a subject of its identity provider')
  return sub.slice(idp.subjectPrefix.length)
}

/**
 * The claim that makes a token usable once.
 *
 * Without a `jti` it is told by the SHA-256 of what was signed, not of the whole token: of an ECDSA signature (r, s) everybody can
 * make (r, n-s), which verifies too, and a replay would look new.
 */
export function onceClaim(
  tenant: Tenant,
  idp: Idp,
  text: string,
  payload: Claims,
  usableUntil: number,
): Claim {
  const { jti } = payload
  // A long jti is told by its digest: it is the IdP's to choose, and a key in our store.
  const id =
    typeof jti === 'string' && jti !== ''
      ? `jti:${jti.length <= 128 ? jti : hash('sha256', jti, 'base64url')}`
      : `sha256:${hash('sha256', text.slice(0, text.lastIndexOf('.')), 'base64url')}`
  return {
    kind: 'once',
    scope: 'subject',
    tenant: tenant.name,
    key: `${idp.name}|${id}`,
    expiresAt: Math.ceil(usableUntil * 1000),
  }
}

/** The claim that ties a UPN to the first subject seen with it, so that a reassigned name is not another person (CVE-2026-96447). */
export function pinClaim(tenant: Tenant, idp: Idp, sub: string, upn: string): Claim {
  return { kind: 'pin', tenant: tenant.name, key: upnPinKey(upn), owner: `${idp.name}|${sub}` }
}

/** The refusal for a token bound to a key (RFC 7800): to take it as a bearer token would undo the binding. */
export function proofRequired(): Refusal {
  return new Refusal(
    'proof_required',
    'The token was bound to a key (cnf) whose possession cannot be proven here. Bring a bearer token.',
  )
}

/** Authentication facts and delegation. The former are passed on only if well typed; the latter decide, so they must be. */
function statements(
  payload: Claims,
): Pick<SubjectEvidence, 'authTime' | 'acr' | 'amr' | 'act' | 'mayAct'> {
  const { auth_time: authTime, acr, amr } = payload
  const act = readAct(payload)
  const mayAct = readMayAct(payload)
  return {
    ...(isNumericDate(authTime) ? { authTime } : {}),
    ...(isStatement(acr) ? { acr } : {}),
    ...(Array.isArray(amr) && amr.length <= MAX_METHODS && amr.every(isStatement)
      ? { amr: [...amr] }
      : {}),
    ...(act === undefined ? {} : { act }),
    ...(mayAct === undefined ? {} : { mayAct }),
  }
}

function isStatement(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_STATEMENT_CHARACTERS
}
