import { CIBA_GRANT, type IdpAlgorithm, MINT_GRANT, resourceFor } from './idp-provider.ts'
import { jsonObject, textIn } from './json.ts'

/** How a client reaches the demo IdP. */
export interface IdpAccess {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
}

/** Tokens of one user. */
export interface UserTokens {
  /** RFC 9068 access token with `upn`: what rolemint exchanges. */
  readonly accessToken: string
  readonly idToken: string
}

/**
 * Logs a user in by CIBA poll (CIBA Core 1.0 §7, §10.1) over HTTP, as any client could: discovery, `/backchannel`
 * with a login hint, then the token endpoint with the `auth_req_id`.
 *
 * @throws {Error} when the IdP does not answer, or answers with an OAuth error (its text is in the message).
 */
export async function logIn(
  idp: IdpAccess,
  user: string,
  algorithm: IdpAlgorithm = 'ES256',
): Promise<UserTokens> {
  const metadata = await discover(idp.issuer)
  const resource = resourceFor(algorithm)
  const started = await post(idp, textIn(metadata, 'backchannel_authentication_endpoint'), {
    scope: 'openid',
    login_hint: user,
    resource,
  })
  const tokens = await post(idp, textIn(metadata, 'token_endpoint'), {
    grant_type: CIBA_GRANT,
    auth_req_id: textIn(started, 'auth_req_id'),
    resource,
  })
  return { accessToken: textIn(tokens, 'access_token'), idToken: textIn(tokens, 'id_token') }
}

/** Has the IdP sign an access token in which `claims` replace the usual ones; `null` leaves a claim out. */
export async function mintToken(
  idp: IdpAccess,
  user: string,
  claims: Readonly<Record<string, unknown>>,
  algorithm: IdpAlgorithm = 'ES256',
): Promise<string> {
  const metadata = await discover(idp.issuer)
  const minted = await post(idp, textIn(metadata, 'token_endpoint'), {
    grant_type: MINT_GRANT,
    user,
    claims: JSON.stringify(claims),
    resource: resourceFor(algorithm),
  })
  return textIn(minted, 'access_token')
}

async function discover(issuer: string): Promise<Record<string, unknown>> {
  const answer = await fetch(`${issuer}/.well-known/openid-configuration`)
  if (!answer.ok) throw new Error(`discovery at the demo IdP answered ${answer.status}`)
  return jsonObject(await answer.json())
}

async function post(
  idp: IdpAccess,
  url: string,
  form: Record<string, string>,
): Promise<Record<string, unknown>> {
  const credentials = `${encodeURIComponent(idp.clientId)}:${encodeURIComponent(idp.clientSecret)}`
  const answer = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` },
    body: new URLSearchParams(form),
  })
  const body = jsonObject(await answer.json())
  if (answer.ok) return body
  throw new Error(
    `the demo IdP refused: ${String(body['error'])} (${String(body['error_description'])})`,
  )
}
