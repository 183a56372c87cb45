import type { Refusal } from '../lib/refusal.ts'
import { isRefusal } from '../lib/refusal.ts'
import type { Secret } from '../lib/secret.ts'
import { checkClaims, readAudience, readIssuer } from '../subject/claims.ts'
import { type ParsedJws, parseCompactJws } from '../subject/jws.ts'
import type { AdmittedKeys } from '../subject/key-gate.ts'
import type { Idp, TokenLimits } from '../subject/options.ts'
import { readPresenter } from '../subject/presenter.ts'
import { allowsAlgorithm, isSameAlgorithm, verifySignature } from '../subject/signature.ts'
import { checkTokenType } from '../subject/token-type.ts'
import { readUserName } from '../subject/upn.ts'
import type { Checks } from './checks.ts'

/** The IdP a token is checked against. Without a configuration nobody knows which audience and presenters are right. */
export interface TokenJudge {
  readonly idp: Idp
  readonly isConfigured: boolean
  readonly limits: TokenLimits
}

/** Checks a token of this IdP step by step, as an exchange would; the first step that fails is the last. Nothing of it is printed but names. */
export function checkToken(
  token: Secret,
  { idp, isConfigured, limits }: TokenJudge,
  keys: AdmittedKeys,
  checks: Checks,
): void {
  const step = stepper(checks)
  const jws = step('token.form', 'is one strict spelling of a JWT', () =>
    parseCompactJws(token.reveal(), limits),
  )
  if (jws === undefined) return
  if (!isSigned(jws, idp, keys, checks)) return
  const { typ, payload } = jws
  const audiences = isConfigured ? idp.audiences : readAudienceSafely(jws)
  const now = Date.now() / 1000
  const passed =
    step('token.type', typ === undefined ? 'has no typ, taken for a JWT' : 'is exchanged', () => {
      checkTokenType(typ, payload, 'jwt')
      return true
    }) &&
    step('token.claims', 'iss, sub, aud, exp and iat are there and good', () =>
      checkClaims(payload, { ...idp, audiences }, { now, skewSeconds: limits.skewSeconds }),
    )
  if (!passed) return
  checkParties(jws, idp, isConfigured, checks)
  step('token.user', `${idp.userClaim} names the user`, () =>
    readUserName(payload, passed.sub, idp),
  )
}

function isSigned(jws: ParsedJws, idp: Idp, { keys }: AdmittedKeys, checks: Checks): boolean {
  const { alg, kid, signingInput, signature, payload } = jws
  const refuse = (check: string, what: string, mend: string): false => {
    checks.fail(check, what, mend)
    return false
  }
  if (stepper(checks)('token.issuer', 'has an iss', () => readIssuer(payload)) !== idp.issuer)
    return refuse(
      'token.issuer',
      'iss is another, byte for byte',
      'configure the issuer exactly as its tokens name it, the slash at the end included',
    )
  if (!allowsAlgorithm(idp.algorithms, alg))
    return refuse('token.algorithm', `${alg} is not accepted`, 'add it to idps.<name>.algorithms')
  checks.ok('token.algorithm', alg)
  if (kid === undefined)
    return refuse('token.key', 'the header names no key', 'let the IdP put kid into the header')
  const key = keys.find((one) => one.kid === kid)
  if (key === undefined)
    return refuse(
      'token.key',
      `the key ${kid} is not among the usable ones`,
      'publish it before the IdP signs with it; if it is listed above as left out, mend that',
    )
  if (!isSameAlgorithm(key.alg, alg))
    return refuse(
      'token.key',
      `the key ${kid} is for ${key.alg} alone`,
      'publish the key with the alg it signs with',
    )
  checks.ok('token.key', kid)
  if (!verifySignature(key, signingInput, signature))
    return refuse('token.signature', 'does not verify', 'bring the token as it was issued')
  checks.ok('token.signature', `verifies under ${kid}`)
  return true
}

function checkParties({ payload }: ParsedJws, idp: Idp, isConfigured: boolean, checks: Checks) {
  const presenter = readPresenter(payload)
  const named = presenter ?? 'nobody in particular'
  if (!isConfigured) {
    checks.warn(
      'token.audience',
      `made for ${readAudience(payload).join(', ')}, issued to ${named}`,
      'check it with -c FILE NAME to see whether audience and presenter are right',
    )
    return
  }
  checks.ok('token.audience', 'names this server')
  if (idp.presenters === 'any' || (presenter && idp.presenters?.includes(presenter)))
    checks.ok('token.presenter', named)
  else if (idp.presenters === undefined)
    checks.ok('token.presenter', `${named}: only a client of that very id may bring it`)
  else
    checks.fail(
      'token.presenter',
      `${named} is not among the presenters`,
      `add it to idps.${idp.name}.presenters if its tokens may be brought here`,
    )
}

function readAudienceSafely({ payload }: ParsedJws): readonly string[] {
  try {
    return readAudience(payload)
  } catch {
    return []
  }
}

/** Runs a step; a refusal is its failure, told with the refusal's own past fact and mend. */
function stepper(checks: Checks) {
  return <T>(check: string, what: string, run: () => T): T | undefined => {
    try {
      const result = run()
      checks.ok(check, what)
      return result
    } catch (error) {
      if (!isRefusal(error)) throw error
      checks.fail(check, `${error.code}: ${error.message}`, mendOf(error))
      return undefined
    }
  }
}

function mendOf({ code }: Refusal): string {
  return `see /errors/${code} of a running server, or docs/errors.md`
}
