import type { Priority } from '../../admission/load.ts'
import type { Call } from '../listener.ts'
import type { Answer, RouteFacts } from '../route.ts'

/** A route of the public listener. */
export interface PublicRoute extends RouteFacts {
  /** Pages of the tenant's origins may read its answers. */
  readonly cors: boolean
  /** What it may be put off or refused for when not everything can be served; left out: nothing. */
  readonly priority?: Priority
  readonly handle: (call: Call, signal: AbortSignal) => Answer | Promise<Answer>
}
