import { numericDate } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import { decide, decideAsk } from '../policy/decide.ts'
import type { Decision, SubjectEvidence } from '../policy/decision.ts'
import type { Idp } from '../subject/options.ts'
import type { PresentedToken } from '../subject/verified.ts'
import type { Tenant } from '../tenant/tenant.ts'
import type { ExchangeDeps } from './deps.ts'

/** What would happen if this client asked for this. */
export interface PreviewQuestion {
  readonly clientId: string
  readonly targets: readonly string[]
  readonly scopes?: readonly string[]
  /** A user by name, or a real token, which is verified as in an exchange. */
  readonly subject: { readonly user: string; readonly idp?: string } | PresentedToken
}

/**
 * Decides without issuing: the same evidence from the same sources, the same `decide`, and no record, key or signature.
 *
 * @throws {Refusal} `malformed_request` for an unknown client or an IdP that cannot be told; whatever verifying the token or asking the sources throws.
 */
export type Preview = (
  tenant: Tenant,
  question: PreviewQuestion,
  signal: AbortSignal,
) => Promise<Decision>

/** Previews with the parts of the exchange. */
export function createPreview(
  deps: Pick<ExchangeDeps, 'rules' | 'subjects' | 'entitlements' | 'clock'>,
): Preview {
  return async (tenant, question, signal) => {
    const client = tenant.clients.get(question.clientId)
    if (!client)
      throw new Refusal('malformed_request', 'There is no such client in this tenant.', {
        param: 'client',
      })
    const now = numericDate(deps.clock.now())
    const rules = deps.rules(tenant, client)
    const request = {
      targets: question.targets,
      scopes: question.scopes ?? [],
      requestedTokenType: undefined,
      expiresIn: undefined,
    }
    // First, as in an exchange: of two mistakes the same one is named.
    const denied = decideAsk(rules, request)
    if (denied) return denied
    const subject =
      'token' in question.subject
        ? (await deps.subjects.subject(tenant, client, question.subject, signal)).evidence
        : supposed(tenant, client.idps, question.subject, now)
    const entitlements = await deps.entitlements(tenant, subject, signal)
    return decide(rules, { now, clientId: client.id, request, subject, entitlements })
  }
}

/** The subject that a fresh token of this user would make. */
function supposed(
  tenant: Tenant,
  clientIdps: readonly string[],
  { user, idp: named }: { readonly user: string; readonly idp?: string },
  now: number,
): SubjectEvidence {
  const names = named === undefined ? clientIdps : [named]
  const [name] = names
  const idp: Idp | undefined = name === undefined ? undefined : tenant.idps.get(name)
  if (!idp || names.length !== 1) {
    throw new Refusal('malformed_request', 'Name the identity provider of the user.', {
      param: 'idp',
    })
  }
  const byUpn = idp.userClaim !== 'sub'
  return {
    idp: idp.name,
    issuer: idp.issuer,
    sub: `${idp.subjectPrefix}${user}`,
    user,
    ...(byUpn ? { upn: user } : {}),
    issuedAt: now,
    expiresAt: now + 1,
  }
}
