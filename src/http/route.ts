import type { Operation } from './operation.ts'

/** `oauth` speaks RFC 6749 unless asked for problems; `api` always answers a problem (RFC 9457). */
export type ErrorStyle = 'oauth' | 'api'

/** What every route of any listener says about itself; routing, 405, the error style and OpenAPI all come from it. */
export interface RouteFacts {
  /** GET answers HEAD too (RFC 9110 §9.3.2). */
  readonly method: 'GET' | 'POST'
  /** As Fastify writes it: `/errors/:code`. */
  readonly path: string
  readonly errors: ErrorStyle
  readonly operation: Operation
  /** Asked every few seconds by machines: a good answer is logged only when debugging. */
  readonly quiet?: boolean
}

/** The routes under one path. */
export interface PathFacts<R extends RouteFacts> {
  readonly routes: readonly R[]
  /** For `Allow` (RFC 9110 §10.2.1). */
  readonly methods: readonly string[]
}

/** Finds the routes under a path whatever the method; at most one segment of a path is a parameter. */
export function createPathIndex<R extends RouteFacts>(
  routes: readonly R[],
): (path: string) => PathFacts<R> | undefined {
  const exact = new Map<string, PathFacts<R>>()
  for (const route of routes) {
    const known = exact.get(route.path)?.routes ?? []
    const all = [...known, route]
    exact.set(route.path, { routes: all, methods: all.flatMap(({ method }) => methodsOf(method)) })
  }
  const patterns = [...exact].flatMap(([path, facts]) => {
    const [prefix = '', ...others] = path.split(/:[^/]+/)
    return others.length > 0 ? [{ prefix, suffix: others.join(''), facts }] : []
  })
  return (path) =>
    (path.includes(':') ? undefined : exact.get(path)) ??
    patterns.find(
      ({ prefix, suffix }) =>
        path.length > prefix.length + suffix.length &&
        path.startsWith(prefix) &&
        path.endsWith(suffix) &&
        !path.slice(prefix.length, path.length - suffix.length).includes('/'),
    )?.facts
}

/** The methods that a route answers. */
export function methodsOf(method: RouteFacts['method']): readonly string[] {
  return method === 'GET' ? ['GET', 'HEAD'] : [method]
}

/** What a route answers, before Fastify writes it. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** The body as it is sent; undefined for none. */
  readonly body: string | undefined
}

/** For everything that holds a token, says whether one is good, or is about one caller (RFC 6749 §5.1, RFC 7662 §4). */
export const NO_STORE = { 'cache-control': 'no-store', pragma: 'no-cache' } as const

/** Headers of a JSON answer that nobody may keep. */
export const PRIVATE_JSON = { 'content-type': 'application/json', ...NO_STORE } as const

/** A JSON answer that nobody may keep. */
export function privateJson(value: unknown): Answer {
  return { status: 200, headers: PRIVATE_JSON, body: JSON.stringify(value) }
}
