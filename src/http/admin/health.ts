import Type from 'typebox'
import type { LoadFacts } from '../../admission/load.ts'
import type { Log } from '../../observe/log.ts'
import { withDeadline } from '../../resilience/deadline.ts'
import type { Upstreams } from '../../resilience/upstream.ts'
import type { Operation } from '../operation.ts'
import { type Answer, PRIVATE_JSON } from '../route.ts'
import { BREAKER, breakerBody } from './breakers.ts'
import type { AdminRoute } from './route.ts'

/** What a replica stands on besides its dependencies. */
export interface HealthParts {
  /** Resolves when the store answers. */
  store(signal: AbortSignal): Promise<unknown>
  /** Resolves when private halves could be read, or the signer could sign, now. */
  keyStore(signal: AbortSignal): Promise<unknown>
  load(): LoadFacts
}

/** What the route of health asks. */
export interface HealthRouteDeps {
  readonly upstreams: Pick<Upstreams, 'list'>
  readonly health: HealthParts
  readonly log: Pick<Log, 'warn'>
}

/** Longest question to a part: what does not answer by then is down for whoever asks how we are. */
const PART_MILLISECONDS = 2000

const PART = Type.Object({ status: Type.String({ description: 'ok or down' }) })

const HEALTH = Type.Object({
  status: Type.String({
    description: 'ok; degraded: something is served less well or not at all; down: nothing is.',
  }),
  store: PART,
  key_store: PART,
  load: Type.Object({
    limit: Type.Integer({ description: 'Requests that may begin in one turn of the event loop.' }),
    in_flight: Type.Integer(),
    queued: Type.Integer(),
    shed: Type.Record(Type.String(), Type.Integer(), {
      description: 'Requests refused since the start, by priority.',
    }),
  }),
  dependencies: Type.Array(BREAKER),
})

/**
 * GET /healthz: how this replica is, for people and their tools. Not for orchestrators: a dependency that is down is no reason to restart
 * or to stop sending requests, and they have /livez and /readyz.
 */
export function healthRoute(deps: HealthRouteDeps): AdminRoute {
  const operation: Operation = {
    id: 'healthz',
    summary: 'How this replica is, with its dependencies and their breakers',
    description: 'Needs the role viewer or a higher one. 503 only when the store does not answer.',
    security: ['operator'],
    answers: {
      200: { type: 'application/json', schema: HEALTH },
      503: { type: 'application/json', schema: HEALTH },
    },
    refusals: [401, 403, 405, 500],
  }
  return {
    method: 'GET',
    path: '/healthz',
    errors: 'api',
    least: 'viewer',
    operation,
    quiet: true,
    handle: () => health(deps),
  }
}

async function health({ upstreams, health: parts, log }: HealthRouteDeps): Promise<Answer> {
  const [store, keyStore] = await Promise.all([
    answers('store', (signal) => parts.store(signal), log),
    answers('key store', (signal) => parts.keyStore(signal), log),
  ])
  const { limit, inFlight, queued, shed } = parts.load()
  const dependencies = upstreams.list()
  const isWell = keyStore && dependencies.every(({ state }) => state === 'closed')
  const body = {
    status: store ? (isWell ? 'ok' : 'degraded') : 'down',
    store: { status: store ? 'ok' : 'down' },
    key_store: { status: keyStore ? 'ok' : 'down' },
    load: { limit, in_flight: inFlight, queued, shed },
    dependencies: dependencies.map(breakerBody),
  }
  return { status: store ? 200 : 503, headers: PRIVATE_JSON, body: JSON.stringify(body) }
}

/** Whether a part answers in time. Why not is for the log: it may name addresses. */
async function answers(
  part: string,
  ask: (signal: AbortSignal) => Promise<unknown>,
  log: Pick<Log, 'warn'>,
): Promise<boolean> {
  try {
    await withDeadline(PART_MILLISECONDS, ask)
    return true
  } catch (error) {
    log.warn({ err: error, part }, 'a part of the replica does not answer')
    return false
  }
}
