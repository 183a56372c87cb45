import type { TSchema } from 'typebox'

/** One kind of body: its media type and what is in it. */
export interface BodyFacts {
  readonly type: string
  readonly schema: TSchema
  readonly description?: string
}

/** One parameter in path, query or header. */
export interface ParameterFacts {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly description: string
  readonly required?: boolean
  readonly schema: TSchema
}

/** What a route does, for the reader of `/openapi.json`. */
export interface Operation {
  readonly id: string
  readonly summary: string
  readonly description?: string
  /** Names of security schemes of which one is enough; empty for none. */
  readonly security: readonly string[]
  readonly parameters?: readonly ParameterFacts[]
  readonly request?: BodyFacts
  /** Successful answers by status. */
  readonly answers: Readonly<Record<number, BodyFacts | { readonly description: string }>>
  /** Statuses of refusals. */
  readonly refusals: readonly number[]
}
