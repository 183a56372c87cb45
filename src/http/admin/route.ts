import Type, { type Static, type TSchema } from 'typebox'
import Value from 'typebox/value'
import { Refusal } from '../../lib/refusal.ts'
import type { Tenants } from '../../tenant/resolve.ts'
import type { Tenant } from '../../tenant/tenant.ts'
import { JSON_TYPE, parseJsonBody } from '../json-body.ts'
import type { Call } from '../listener.ts'
import type { Operation, ParameterFacts } from '../operation.ts'
import type { AdminRole } from '../options.ts'
import { publicText } from '../render-refusal.ts'
import type { Operator } from '../request-scope.ts'
import { type Answer, privateJson, type RouteFacts } from '../route.ts'

/** A route of the admin listener; `anyone` is for probes alone. */
export interface AdminRoute extends RouteFacts {
  readonly least: AdminRole | 'anyone'
  readonly handle: (
    call: Call,
    operator: Operator | undefined,
    signal: AbortSignal,
  ) => Promise<Answer>
}

/** A call whose query and body have been checked. */
export interface AdminCall<Query, Body> {
  readonly query: Query
  readonly body: Body
  readonly params: Readonly<Record<string, string>>
  readonly operator: Operator
  readonly requestId: string
  readonly signal: AbortSignal
}

/** An admin route as it is written down: what it needs, what it takes, what it does. */
export interface AdminRouteFacts<Query extends TSchema, Body extends TSchema> {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly least: AdminRole
  readonly id: string
  readonly summary: string
  readonly description?: string
  readonly params?: Readonly<Record<string, string>>
  /** Strings all, as a query has nothing else. */
  readonly query: Query
  readonly body: Body
  readonly answer: TSchema
  readonly refusals?: readonly number[]
  readonly handle: (call: AdminCall<Static<Query>, Static<Body>>) => Promise<unknown>
}

/** For routes without query or body. */
export const NOTHING = Type.Object({}, { additionalProperties: false })

/** Makes a route that checks what comes in against its own description. */
export function adminRoute<Query extends TSchema, Body extends TSchema>(
  facts: AdminRouteFacts<Query, Body>,
): AdminRoute {
  return {
    method: facts.method,
    path: facts.path,
    errors: 'api',
    least: facts.least,
    operation: operationOf(facts),
    async handle(call, operator, signal) {
      if (!operator) throw new TypeError('an admin route was reached without an operator')
      const query = checked(facts.query, queryOf(call.scope.query))
      const given = facts.method === 'POST' ? parseJsonBody(call.headers, call.body) : {}
      const answer = await facts.handle({
        query,
        // parseJsonBody gives objects without prototype, which the schemas must not care about.
        body: checked(facts.body, { ...given }),
        params: call.params,
        operator,
        requestId: call.scope.id,
        signal,
      })
      return privateJson(answer)
    },
  }
}

function operationOf(facts: AdminRouteFacts<TSchema, TSchema>): Operation {
  const { id, summary, least, answer } = facts
  return {
    id,
    summary,
    description: `${facts.description === undefined ? '' : `${facts.description} `}Needs the role ${least} or a higher one.`,
    security: ['operator'],
    parameters: [
      ...Object.entries(facts.params ?? {}).map(
        ([name, description]): ParameterFacts => ({
          name,
          in: 'path',
          description,
          schema: Type.String(),
        }),
      ),
      ...queryParameters(facts.query),
    ],
    ...(facts.method === 'POST' ? { request: { type: JSON_TYPE, schema: facts.body } } : {}),
    answers: { 200: { type: JSON_TYPE, schema: answer } },
    refusals: [400, 401, 403, 405, 500, ...(facts.refusals ?? [])],
  }
}

function queryParameters(schema: TSchema): readonly ParameterFacts[] {
  if (!Type.IsObject(schema)) return []
  return Object.entries(schema.properties).map(([name, property]) => ({
    name,
    in: 'query',
    description:
      'description' in property && typeof property.description === 'string'
        ? property.description
        : name,
    required: schema.required?.includes(name) ?? false,
    schema: property,
  }))
}

/** @throws {Refusal} `malformed_request` for a parameter that comes twice. */
function queryOf(text: string): Record<string, string> {
  const query: Record<string, string> = {}
  for (const [name, value] of new URLSearchParams(text)) {
    if (Object.hasOwn(query, name))
      throw new Refusal('malformed_request', 'A parameter of the query was repeated.')
    Object.defineProperty(query, name, { value, enumerable: true })
  }
  return query
}

/** @throws {Refusal} `malformed_request`, naming the first parameter or member that does not fit. */
function checked<S extends TSchema>(schema: S, value: unknown): Static<S> {
  if (Value.Check(schema, value)) return value
  const [first] = Value.Errors(schema, value)
  const missing = first?.keyword === 'required' ? first.params.requiredProperties[0] : undefined
  const named = first?.instancePath.split('/')[1] ?? missing ?? ''
  // A name that the caller made up is said back only when it looks like one of ours.
  const param = /^[A-Za-z_]{1,40}$/.test(named) ? named : undefined
  const what =
    first?.keyword === 'boolean'
      ? 'is not known'
      : (first?.message ?? 'does not fit its description')
  throw new Refusal(
    'malformed_request',
    publicText(
      `The parameter ${param ?? 'list'} was not accepted: it ${missing ? 'is required' : what}.`,
    ),
    param === undefined ? {} : { param },
  )
}

/** The tenant of this name. @throws {Refusal} `unknown_tenant`. */
export function tenantNamed(tenants: Tenants, name: string): Tenant {
  const tenant = tenants.byName(name)
  if (tenant) return tenant
  throw new Refusal('unknown_tenant', 'There is no tenant of this name.', { param: 'tenant' })
}

/** The tenant of this name, or all of them when none is named. @throws {Refusal} `unknown_tenant`. */
export function tenantsNamed(tenants: Tenants, name: string | undefined): readonly Tenant[] {
  return name === undefined ? tenants.all() : [tenantNamed(tenants, name)]
}
