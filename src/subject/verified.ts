import type { Claim } from '../audit/ledger.ts'
import type { Client } from '../client/options.ts'
import type { Secret } from '../lib/secret.ts'
import type { Act, ActorEvidence, SubjectEvidence } from '../policy/decision.ts'
import type { Idp, TokenLimits } from './options.ts'

/** Token types a caller may declare (RFC 8693 §3). */
export type DeclaredTokenType = 'jwt' | 'id_token' | 'access_token'

/** A token brought by a caller, with what the caller says it is. */
export interface PresentedToken {
  readonly token: Secret
  readonly type: DeclaredTokenType
}

/** A subject that was found genuine, and the facts that must become true for it to be used. */
export interface VerifiedSubject {
  readonly evidence: SubjectEvidence
  /** NumericDate after which the subject token is no longer valid, skew included. */
  readonly usableUntil: number
  /** Once-only id and UPN pin, to be made durable with the ledger entry. */
  readonly claims: readonly Claim[]
  /** For the log: key id and algorithm, never token text. */
  readonly kid: string | undefined
  readonly alg: string
  /** The key of ours that signed it; undefined when it is a token of an IdP. */
  readonly ownKid?: string | undefined
}

/** An actor that was found genuine. */
export interface VerifiedActor {
  readonly evidence: ActorEvidence
  readonly usableUntil: number
  readonly claims: readonly Claim[]
  /** As with {@link VerifiedSubject}. */
  readonly ownKid?: string | undefined
}

/** The claims of a token of ours, with their types established. */
export interface OwnClaims {
  readonly iss: string
  readonly sub: string
  readonly aud: readonly string[]
  readonly exp: number
  readonly iat: number
  readonly jti: string
  readonly clientId: string
  readonly idp: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly upn: string | undefined
  readonly originJti: string
  /** Ancestors, root first. */
  readonly lineage: readonly string[]
  readonly sessionExp: number
  readonly act: Act | undefined
  readonly cnf: Readonly<Record<string, unknown>> | undefined
}

/**
 * What follows from nothing but a token, the type it was declared to be, an IdP and a client: type, presenter, user name, subject.
 * Good for as long as all of them are the same objects; a new configuration brings new ones. Times and audience are not among it.
 */
export interface Judged {
  readonly idp: Idp
  readonly client: Client
  readonly type: PresentedToken['type']
  readonly limits: TokenLimits
  readonly once: readonly Claim[]
  readonly subject: Pick<VerifiedSubject, 'evidence' | 'claims'>
}
