import Type, { type Static } from 'typebox'
import type { PreviewQuestion } from '../../exchange/preview.ts'
import { TOKEN_TYPES } from '../../exchange/request.ts'
import { Refusal } from '../../lib/refusal.ts'
import { Secret } from '../../lib/secret.ts'
import type { Decision, Grant } from '../../policy/decision.ts'
import { EdgeError } from '../edge-error.ts'
import { RENDERINGS } from '../render-refusal.ts'
import type { AdminDeps } from './deps.ts'
import { ENTRY, entryBody } from './entries.ts'
import { TENANT } from './fields.ts'
import { fromStore } from './from-store.ts'
import { type AdminRoute, adminRoute, NOTHING, tenantNamed } from './route.ts'

const DEFAULT_TYPE = 'urn:ietf:params:oauth:token-type:jwt'
const USER = Type.String({
  minLength: 1,
  maxLength: 512,
  description: 'User, as the IdP would name them.',
})
const IDP = Type.String({
  minLength: 1,
  maxLength: 63,
  description: 'IdP of the user, where the client has several.',
})

const QUESTION = Type.Object(
  {
    tenant: TENANT,
    client: Type.String({ minLength: 1, maxLength: 255, description: 'Client that would ask.' }),
    audience: Type.Optional(
      Type.Union(
        [Type.String({ minLength: 1 }), Type.Array(Type.String({ minLength: 1 }), { maxItems: 8 })],
        {
          description: 'Targets; the default of the client when left out.',
        },
      ),
    ),
    scope: Type.Optional(
      Type.String({ maxLength: 2048, description: 'Scopes, separated by spaces.' }),
    ),
    subject: Type.Optional(
      Type.Union([
        USER,
        Type.Object({ user: USER, idp: Type.Optional(IDP) }, { additionalProperties: false }),
      ]),
    ),
    subject_token: Type.Optional(
      Type.String({ minLength: 1, description: 'A real token instead of a user.' }),
    ),
    subject_token_type: Type.Optional(Type.Enum([...TOKEN_TYPES.keys()])),
  },
  { additionalProperties: false },
)

const DECISION = Type.Object({
  outcome: Type.String({ description: 'grant or refuse' }),
  grant: Type.Optional(Type.Object({}, { additionalProperties: true })),
  error_code: Type.Optional(Type.String()),
  error: Type.Optional(Type.String()),
  message: Type.Optional(Type.String()),
  param: Type.Optional(Type.String()),
  trace: Type.Array(
    Type.Object({
      rule: Type.String(),
      effect: Type.String(),
      detail: Type.String(),
      at: Type.Optional(Type.String({ description: 'Where the rule is written.' })),
    }),
  ),
})

/** Decisions: what would be decided, and what was. */
export function decisionRoutes(
  deps: Pick<AdminDeps, 'preview' | 'ledger' | 'tenants'>,
): readonly AdminRoute[] {
  return [
    adminRoute({
      method: 'POST',
      path: '/admin/v1/decisions/preview',
      least: 'auditor',
      id: 'previewDecision',
      summary: 'Decide without issuing',
      description: 'The same rules and sources as an exchange, with the reason of every step.',
      query: NOTHING,
      body: QUESTION,
      answer: DECISION,
      refusals: [404, 503],
      async handle({ body, signal }) {
        const tenant = tenantNamed(deps.tenants, body.tenant)
        const audience = body.audience ?? []
        const question: PreviewQuestion = {
          clientId: body.client,
          targets: typeof audience === 'string' ? [audience] : audience,
          scopes: body.scope?.split(' ').filter((word) => word !== '') ?? [],
          subject: subjectOf(body),
        }
        return decisionBody(await deps.preview(tenant, question, signal))
      },
    }),
    adminRoute({
      method: 'GET',
      path: '/admin/v1/decisions/:jti',
      least: 'auditor',
      id: 'readDecision',
      summary: 'What was decided, and why',
      params: { jti: 'The jti of an issued token, or the id of a refusal.' },
      query: Type.Object({ tenant: TENANT }, { additionalProperties: false }),
      body: NOTHING,
      answer: ENTRY,
      refusals: [404, 503],
      async handle({ params, query, signal }) {
        const tenant = tenantNamed(deps.tenants, query.tenant)
        const entry = await fromStore(deps.ledger.find(tenant.name, params['jti'] ?? '', signal))
        if (!entry) throw new EdgeError('not_found', 'The tenant has no such decision.')
        return entryBody(entry)
      },
    }),
  ]
}

function subjectOf(body: Static<typeof QUESTION>): PreviewQuestion['subject'] {
  const { subject, subject_token: token, subject_token_type: type } = body
  if (token !== undefined && subject === undefined)
    return { token: new Secret(token), type: TOKEN_TYPES.get(type ?? DEFAULT_TYPE) ?? 'jwt' }
  if (subject !== undefined && token === undefined)
    return typeof subject === 'string' ? { user: subject } : subject
  throw new Refusal('malformed_request', 'Exactly one of subject and subject_token is needed.', {
    param: 'subject',
  })
}

function decisionBody(decision: Decision): object {
  const { outcome, trace } = decision
  if (decision.outcome === 'grant') return { outcome, grant: grantBody(decision.grant), trace }
  const { code, message, param } = decision
  return { outcome, error_code: code, error: RENDERINGS[code].error, message, param, trace }
}

/** The grant under the names its claims will have. */
function grantBody(grant: Grant): object {
  return {
    sub: grant.sub,
    aud: grant.aud,
    client_id: grant.clientId,
    roles: grant.roles,
    scope: grant.scopes.length > 0 ? grant.scopes.join(' ') : undefined,
    iat: grant.iat,
    exp: grant.exp,
    session_exp: grant.sessionExp,
    idp: grant.idp,
    upn: grant.upn,
    act: grant.act,
    cnf: grant.cnf,
    auth_time: grant.authTime,
    acr: grant.acr,
    amr: grant.amr,
    origin_jti: grant.originJti,
    lineage: grant.lineage,
    entitlements: grant.entitlements,
  }
}
