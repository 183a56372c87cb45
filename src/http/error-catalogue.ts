/** What every error means and how to mend it: the text behind `/errors/{code}` and docs/errors.md. */
import type { RefusalCode } from '../lib/refusal.ts'
import type { EdgeCode } from './edge-error.ts'

/** One error, for the person who has to do something about it. */
export interface ErrorEntry {
  readonly title: string
  readonly meaning: string
  /** What usually brings it about. */
  readonly cause: string
  readonly mend: string
}

/** Every code there is; the compiler checks that none is missing. */
export const ERROR_CATALOGUE = {
  malformed_token: {
    title: 'Token is not a well-formed JWT',
    meaning: 'The token is not a compact JWS whose header and payload are single JSON objects.',
    cause:
      'A truncated or re-encoded copy, an opaque or encrypted token, a JSON-serialised JWS, duplicate member names, or an unknown crit header.',
    mend: 'Send the token exactly as the identity provider gave it: three base64url segments, no padding, no white space.',
  },
  token_too_large: {
    title: 'Token is too large',
    meaning: 'The token or assertion is longer than limits.tokenBytes allows.',
    cause: 'An identity provider that puts hundreds of groups or a picture into its tokens.',
    mend: 'Have the identity provider send fewer claims, or raise limits.tokenBytes.',
  },
  invalid_signature: {
    title: 'Token signature does not verify',
    meaning: 'No key of the issuer verifies the signature of the token.',
    cause:
      'A changed token, a key that the issuer does not publish, or a kid that is missing or unknown.',
    mend: 'Get a fresh token. If all tokens of this issuer fail, compare its JWKS with the kid in the header of the token.',
  },
  algorithm_not_allowed: {
    title: 'Signature algorithm is not allowed',
    meaning:
      'The alg of the token is not in the list of this identity provider, or does not fit its key.',
    cause: 'HS256, none, or an algorithm that tenants.TENANT.idps.IDP.algorithms leaves out.',
    mend: 'Sign with an allowed asymmetric algorithm, or add the algorithm to the list if the identity provider really uses it.',
  },
  expired: {
    title: 'Token has expired',
    meaning: 'The token is past its exp, or older than idps.IDP.maxAge allows.',
    cause: 'A cached token, or clocks that differ by more than limits.skew.',
    mend: 'Get a fresh token from the identity provider and try again. Check both clocks if it is fresh.',
  },
  not_yet_valid: {
    title: 'Token is not valid yet',
    meaning: 'The nbf or iat of the token is in the future by more than limits.skew.',
    cause: 'The clock of the identity provider is ahead of ours, or ours is behind.',
    mend: 'Synchronise the clocks; then try again.',
  },
  untrusted_issuer: {
    title: 'Issuer is not trusted',
    meaning: 'The iss of the token is not one that this client may bring tokens of.',
    cause:
      'Another environment of the identity provider, a trailing slash, a disabled identity provider, or one that clients.CLIENT.idps leaves out.',
    mend: 'Compare iss with idps.IDP.issuer character by character and list the identity provider in clients.CLIENT.idps.',
  },
  wrong_audience: {
    title: 'Token is not meant for us',
    meaning: 'The aud of the token does not hold our name at the identity provider.',
    cause: 'A token that was issued for another application.',
    mend: 'Ask the identity provider for a token whose aud is the idps.IDP.audience of the configuration.',
  },
  wrong_presenter: {
    title: 'Token was issued to somebody else',
    meaning: 'The azp or client_id of the token does not name a client that may bring it.',
    cause: 'A token that was handed on from one application to another.',
    mend: 'Bring a token that was issued to this client, or list the other application in idps.IDP.presenters.',
  },
  wrong_type: {
    title: 'Token is of another kind',
    meaning: 'The declared token type does not fit the token, or its typ is one we never accept.',
    cause:
      'An ID token declared as access token or the reverse; a logout token, DPoP proof or client assertion sent as subject token.',
    mend: 'Declare what the token is in subject_token_type, or send the right token.',
  },
  missing_claim: {
    title: 'Token lacks a claim',
    meaning: 'A claim that must be present is missing or has the wrong type.',
    cause: 'The identity provider does not send one of iss, sub, aud, exp, iat or requiredClaims.',
    mend: 'Add the claim at the identity provider, or take it out of idps.IDP.requiredClaims.',
  },
  invalid_upn: {
    title: 'User principal name is not acceptable',
    meaning:
      'The claim that names the user does not look like a UPN, or its domain is not in upnDomains.',
    cause: 'A user of another domain, characters outside the allowed set, or the wrong user claim.',
    mend: 'Correct the user claim at the identity provider, or idps.IDP.user and upnDomains here.',
  },
  upn_conflict: {
    title: 'User principal name belongs to another subject',
    meaning: 'Another (identity provider, sub) has this UPN in the tenant.',
    cause: 'A UPN that was given to a new person, or two identity providers naming the same user.',
    mend: 'Find out who the person is; then have an operator release the UPN.',
  },
  replayed: {
    title: 'Token was used before',
    meaning: 'A token that may be used once has been used.',
    cause: 'A retry with the same token, or a stolen copy, with idps.IDP.onceOnly switched on.',
    mend: 'Get a fresh token for each exchange. Treat a replay that nobody can explain as an incident.',
  },
  revoked: {
    title: 'Token or its owner was cut off',
    meaning: 'A cut-off covers the token, its lineage, user, client, key or identity provider.',
    cause: 'An operator cut it off.',
    mend: 'Log in again if the cut-off allows it; otherwise ask the operator for its reason.',
  },
  unknown_user: {
    title: 'Entitlement sources do not know the user',
    meaning: 'No entitlement source has a record of the user, and the tenant refuses such users.',
    cause: 'A user who was not provisioned yet, or a user claim that the source does not know.',
    mend: 'Provision the user at the source, or correct idps.IDP.user.',
  },
  no_roles: {
    title: 'No role is left',
    meaning:
      'After mapping and the ceiling of the client no role is left, and roles.empty is deny.',
    cause: 'Roles that roles.map does not name, or a ceiling that leaves them out.',
    mend: 'Preview the decision (rolemint access preview): it names the rule and the line that dropped each role.',
  },
  actor_not_allowed: {
    title: 'Actor may not act for the subject',
    meaning: 'The subject token does not name the actor in may_act, nor does the client allow it.',
    cause: 'A missing may_act, a chain that is too deep, or an actor whose own token is delegated.',
    mend: 'Have the identity provider issue may_act, or list the actor in clients.CLIENT.actors.',
  },
  proof_required: {
    title: 'Proof of possession is required',
    meaning: 'The token is bound to a key (cnf) and the request does not prove that key.',
    cause: 'A DPoP-bound or certificate-bound token sent like a bearer token.',
    mend: 'Bring a token that is not bound to a key.',
  },
  malformed_request: {
    title: 'Request is malformed',
    meaning:
      'The request does not follow the protocol; param names the parameter, if one is to blame.',
    cause:
      'A missing or repeated parameter, parameters in the query string, two ways of client authentication at once, or a body that does not parse.',
    mend: 'Correct the request as the description says; GET /openapi.json describes every request.',
  },
  refresh_invalid: {
    title: 'Refresh token is not valid',
    meaning: 'The refresh token is unknown, used, expired or belongs to another client.',
    cause: 'A refresh token that was used twice.',
    mend: 'Exchange a fresh token of the identity provider.',
  },
  unsupported_grant: {
    title: 'Grant type is not supported',
    meaning: 'The token endpoint does not know this grant_type.',
    cause: 'A client set up for the authorization code, password or client credentials grant.',
    mend: 'Use urn:ietf:params:oauth:grant-type:token-exchange.',
  },
  target_not_allowed: {
    title: 'Target is not allowed',
    meaning: 'An audience or resource is not one that this client may ask for.',
    cause:
      'A target that clients.CLIENT.audiences leaves out, or a resource that is no absolute URI.',
    mend: 'Ask for a target of the list, or add it to clients.CLIENT.audiences.',
  },
  scope_not_allowed: {
    title: 'Scope is not allowed',
    meaning: 'A scope is wider than what the client or the subject token may have.',
    cause: 'A scope that clients.CLIENT.scopes leaves out.',
    mend: 'Ask for fewer scopes, or add the scope to clients.CLIENT.scopes.',
  },
  client_auth_failed: {
    title: 'Client authentication failed',
    meaning: 'Who asks could not be established. The answer never says which part failed.',
    cause:
      'A wrong or rotated secret, an unknown or disabled client, an assertion that is expired, reused or for another audience.',
    mend: 'Check client_id and credential. The aud of an assertion is our issuer, as a single string (RFC 10070). The log of the operator has the reason.',
  },
  grant_not_allowed: {
    title: 'Client may not do this',
    meaning: 'The client is known, but its grants do not cover this endpoint.',
    cause: 'clients.CLIENT.grants leaves out exchange, introspect or another grant.',
    mend: 'Add the grant to clients.CLIENT.grants.',
  },
  rate_limited: {
    title: 'Too many requests',
    meaning:
      'The client, the client for this subject, the tenant or the whole deployment has used up its rate, or too many logins failed from this address.',
    cause: 'limits.perClient, perSubject, perTenant, total or failedAuthPerAddress.',
    mend: 'Wait for as many seconds as Retry-After says; keep issued tokens instead of exchanging for each call.',
  },
  unknown_tenant: {
    title: 'No tenant here',
    meaning: 'No tenant of this deployment has an issuer with this host and path.',
    cause: 'A wrong host name or path, or a proxy that changes the Host header.',
    mend: 'Use the issuer URL of the tenant. Behind a proxy, pass Host on, or list the proxy in listen.public.trustedProxies.',
  },
  method_not_allowed: {
    title: 'Method is not allowed',
    meaning: 'The path exists, but not for this method; Allow lists those it has.',
    cause: 'A GET to /token, or a POST to /jwks.',
    mend: 'Use a method that Allow lists.',
  },
  body_too_large: {
    title: 'Request body is too large',
    meaning: 'The body is longer than 64 KiB.',
    cause: 'Tokens that are too large, or a body that is not ours.',
    mend: 'Send less.',
  },
  unsupported_media_type: {
    title: 'Media type is not supported',
    meaning: 'The Content-Type of the request is not the one that this endpoint reads.',
    cause: 'A form sent to the JSON API, another charset than UTF-8, or a compressed body.',
    mend: 'Send application/json in UTF-8 to the JSON API, application/x-www-form-urlencoded to the OAuth endpoints.',
  },
  entitlements_unavailable: {
    title: 'Roles cannot be looked up now',
    meaning: 'An entitlement source did not give a complete answer in time.',
    cause:
      'The source is down, slow, or broke its contract (pages, role counts, another user), and its failure policy has nothing that may stand in.',
    mend: 'Retry after Retry-After. The operator sees the source in the log under the request id.',
  },
  idp_keys_unavailable: {
    title: 'Keys of the identity provider cannot be read now',
    meaning:
      'The JWKS of the issuer, or of the client, cannot be fetched and no usable copy has the key.',
    cause: 'The identity provider is down or unreachable from here.',
    mend: 'Retry after Retry-After. The operator checks the way to the identity provider.',
  },
  signer_unavailable: {
    title: 'Signing is not possible now',
    meaning: 'The active key cannot be used.',
    cause:
      'The key store is unreachable, the ring has no active key, or the clock was set and is being checked.',
    mend: 'Retry after Retry-After. The operator looks at GET /readyz and at keys list.',
  },
  ledger_unavailable: {
    title: 'Recording is not possible now',
    meaning: 'The exchange could not be recorded durably, so no token was signed.',
    cause: 'The store is down, full or too slow.',
    mend: 'Retry after Retry-After. The operator looks at the store; no token exists without its record.',
  },
  overloaded: {
    title: 'Too busy now',
    meaning: 'The request was given up to keep others served.',
    cause:
      'More work than this deployment can do, or a dependency that holds requests up. What is refused for want of room is neither logged one by one nor in the ledger.',
    mend: 'Retry after Retry-After, with increasing waits.',
  },
  internal: {
    title: 'Internal error',
    meaning: 'A bug on our side. Nothing was issued.',
    cause: 'Unknown; the log has the error under the request id.',
    mend: 'Quote the request_id to the operator.',
  },
  not_found: {
    title: 'Nothing here',
    meaning: 'There is no such path, entry or error code.',
    cause: 'A misspelt path or id.',
    mend: 'GET /openapi.json lists every path.',
  },
  conflict: {
    title: 'State does not allow the change',
    meaning: 'The change was not made, because of what is there now.',
    cause:
      'A rotation, promotion or retirement of a key that comes too early, a key in another state, or another operator who was faster.',
    mend: 'Read the state again; the description says from when on the change is possible.',
  },
  admin_unauthenticated: {
    title: 'Operator is not authenticated',
    meaning: 'The admin listener answers nobody without a valid credential.',
    cause: 'No bearer token, or one that is unknown or has expired.',
    mend: 'Make a break-glass token with rolemint admin token and send it as Authorization: Bearer.',
  },
  admin_forbidden: {
    title: 'Operator may not do this',
    meaning: 'The role of the credential is too low, or a page of another origin made the request.',
    cause: 'A viewer who rotates keys; a browser page that is not the console.',
    mend: 'Use a credential of the role that GET /openapi.json names for the path.',
  },
} as const satisfies Record<RefusalCode | EdgeCode, ErrorEntry>

/** A code of the catalogue. */
export type ErrorCode = keyof typeof ERROR_CATALOGUE

/** True for a code of the catalogue. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERROR_CATALOGUE, text)
}
