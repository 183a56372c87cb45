import type { RefusalCode } from '../lib/refusal.ts'

/** One step of a decision: which rule, what it did, and where that rule is written. */
export interface TraceStep {
  readonly rule: string
  /** `keep` let it pass, `change` altered the result, `deny` ended it. */
  readonly effect: 'keep' | 'change' | 'deny'
  readonly detail: string
  /** Configuration position, e.g. `tenants/acme.yaml:38`; absent where no setting decides. */
  readonly at?: string
}

/** Takes down the steps of one decision. */
export interface Trace {
  /** A rule let it pass. */
  keep(rule: string, detail: string, at?: string): void
  /** A rule altered the result. */
  change(rule: string, detail: string, at?: string): void
  /** A rule ends the decision; `message` is what the caller reads. Does not return. */
  deny(rule: string, code: RefusalCode, message: string, at?: string, param?: string): never
}

/** The request as far as the decision depends on it. */
export interface RequestEvidence {
  /** Targets asked for, by `audience` and `resource` together; empty means the client's default. */
  readonly targets: readonly string[]
  readonly scopes: readonly string[]
  readonly requestedTokenType: string | undefined
  /** Life asked for, in seconds. */
  readonly expiresIn: number | undefined
}

/** The actor on whose part a token is asked for, and those before it (RFC 8693 §4.1). */
export interface Act {
  readonly sub: string
  readonly iss?: string
  readonly act?: Act
}

/** Who may act for a subject (RFC 8693 §4.4). */
export interface MayAct {
  readonly sub?: string
  readonly iss?: string
  readonly client_id?: string
}

/** What a token of ours says about its own past; present when the subject token is one. */
export interface OwnTokenEvidence {
  readonly jti: string
  readonly clientId: string
  readonly originJti: string
  /** Ancestors, root first, without the token itself. */
  readonly lineage: readonly string[]
  /** NumericDate after which no token of this session may be valid. */
  readonly sessionExp: number
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  /** Its confirmation (RFC 7800), kept as it is. */
  readonly cnf?: Readonly<Record<string, unknown>>
}

/** The verified subject, as far as the decision depends on it. */
export interface SubjectEvidence {
  /** Name of the IdP that vouches for it. */
  readonly idp: string
  /** Our `sub`: the IdP's behind its prefix. */
  readonly sub: string
  readonly issuer: string
  readonly upn?: string
  /** How the entitlement sources know the user. */
  readonly user: string
  readonly issuedAt: number
  readonly expiresAt: number
  readonly authTime?: number
  readonly acr?: string
  readonly amr?: readonly string[]
  readonly act?: Act
  readonly mayAct?: MayAct
  readonly own?: OwnTokenEvidence
  /** Claims that the IdP left out as too large and named elsewhere (overage); what they hold is not known. */
  readonly leftOut?: readonly string[]
}

/** The verified actor. */
export interface ActorEvidence {
  readonly idp: string
  readonly sub: string
  readonly issuer: string
  readonly clientId?: string
  /** The actor's own token was delegated: such an actor is refused, as its chain would be lost. */
  readonly delegated: boolean
}

/** What the sources said. */
export interface EntitlementEvidence {
  readonly status: 'fresh' | 'stale' | 'limited'
  /** NumericDate of the oldest answer used. */
  readonly at: number
  /** True when no source knows the user. */
  readonly unknownUser: boolean
  /** Roles as the sources name them: sorted, without duplicates. */
  readonly roles: readonly string[]
  /** Longest life in seconds that a token on this evidence may have, where a failure policy bounds it. */
  readonly maxLifeSeconds?: number
}

/** Everything a decision depends on besides the tenant's configuration: no token, no secret, no I/O. */
export interface Evidence {
  readonly now: number
  readonly clientId: string
  readonly request: RequestEvidence
  readonly subject: SubjectEvidence
  readonly actor?: ActorEvidence
  readonly entitlements: EntitlementEvidence
}

/** What is granted: the claims of the token to be, still without `jti` and issuer. */
export interface Grant {
  readonly sub: string
  readonly aud: readonly string[]
  readonly clientId: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly iat: number
  readonly exp: number
  readonly sessionExp: number
  readonly idp: string
  readonly upn?: string
  readonly act?: Act
  readonly cnf?: Readonly<Record<string, unknown>>
  readonly authTime?: number
  readonly acr?: string
  readonly amr?: readonly string[]
  /** Root of the lineage; absent when this token is the root. */
  readonly originJti?: string
  readonly lineage?: readonly string[]
  readonly entitlements: { readonly status: 'fresh' | 'stale' | 'limited'; readonly at: number }
}

/** The outcome of `decide`, with the reasons. */
export type Decision =
  | { readonly outcome: 'grant'; readonly grant: Grant; readonly trace: readonly TraceStep[] }
  | {
      readonly outcome: 'refuse'
      readonly code: RefusalCode
      readonly message: string
      readonly param?: string
      readonly trace: readonly TraceStep[]
    }
