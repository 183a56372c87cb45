/** Builds the OpenAPI documents from what the routes say about themselves: a route that is not described does not exist. */
import type { TSchema } from 'typebox'
import type { BodyFacts, ParameterFacts } from './operation.ts'
import type { RouteFacts } from './route.ts'

/** What a document says about a listener as a whole. */
export interface DocumentFacts {
  readonly title: string
  readonly version: string
  readonly description: string
  readonly securitySchemes: Readonly<Record<string, unknown>>
  /** Schema of the error object, which all refusals share. */
  readonly error: TSchema
}

const NAME_IN_PATH = /:([A-Za-z_]+)/g

/** The document of these routes. @see {@link https://spec.openapis.org/oas/v3.1.0 OpenAPI 3.1} */
export function openApi(facts: DocumentFacts, routes: readonly RouteFacts[]): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const route of routes) {
    // HEAD follows from GET (RFC 9110 §9.3.2) and is not listed again.
    const path = route.path.replaceAll(NAME_IN_PATH, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: describe(route) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: facts.title,
      version: facts.version,
      description: facts.description,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths,
    components: {
      securitySchemes: facts.securitySchemes,
      schemas: { Error: facts.error },
    },
  }
}

function describe({ operation, errors }: RouteFacts): object {
  const { id, summary, description, security, parameters, request, answers, refusals } = operation
  const refusalType = errors === 'oauth' ? 'application/json' : 'application/problem+json'
  return {
    operationId: id,
    summary,
    ...(description === undefined ? {} : { description }),
    security: security.map((scheme) => ({ [scheme]: [] })),
    ...(parameters ? { parameters: parameters.map(describeParameter) } : {}),
    ...(request ? { requestBody: { required: true, content: contentOf(request) } } : {}),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, answer]) => [status, describeAnswer(answer)]),
      ),
      ...Object.fromEntries(
        refusals.map((status) => [
          status,
          {
            description: `Refused; error_code says why.`,
            content: { [refusalType]: { schema: { $ref: '#/components/schemas/Error' } } },
          },
        ]),
      ),
    },
  }
}

function describeParameter(parameter: ParameterFacts): object {
  return { ...parameter, required: parameter.in === 'path' || (parameter.required ?? false) }
}

function describeAnswer(answer: BodyFacts | { readonly description: string }): object {
  if (!('schema' in answer)) return { description: answer.description }
  return { description: answer.description ?? 'Done.', content: contentOf(answer) }
}

function contentOf({ type, schema }: BodyFacts): object {
  return { [type]: { schema } }
}
