import { type Clock, monotonicClock } from '../lib/clock.ts'
import type { Random } from '../lib/id.ts'
import type { UpstreamObserver, Upstreams } from './upstream.ts'
import { type AdaptableUpstream, createUpstream } from './upstream-policy.ts'

/** Dependencies remembered: enough for a thousand tenants with four each. */
const MOST = 4096

/** What the registry takes from outside. */
interface UpstreamsDeps {
  /** Monotonic; left out: the machine's. */
  readonly clock?: Clock
  readonly random: Random
  readonly observe?: UpstreamObserver
}

/**
 * The dependencies of a deployment. Beyond {@link MOST} the one that was not asked for longest is forgotten, with its counts; one that an
 * operator holds open only when there are no others.
 */
export function createUpstreams(
  { clock = monotonicClock, random, observe = {} }: UpstreamsDeps,
  { most = MOST }: { readonly most?: number } = {},
): Upstreams {
  const known = new Map<string, { readonly upstream: AdaptableUpstream; used: number }>()
  let uses = 0

  /** A search, because it is rare: names come from the configuration. A list in order of use would cost something with each call. */
  function forgetOne(): void {
    const oldest = [...known.values()]
      .map(({ upstream, used }) => ({ upstream, used, held: isHeld(upstream) }))
      .reduce((one, other) => {
        if (one.held !== other.held) return one.held ? other : one
        return one.used < other.used ? one : other
      })
    const { options } = oldest.upstream
    known.delete(options.name)
    observe.forgotten?.(options)
  }

  return {
    for(options) {
      uses += 1
      const found = known.get(options.name)
      if (found) {
        found.used = uses
        if (found.upstream.options !== options) found.upstream.adopt(options)
        return found.upstream
      }
      if (known.size >= most) forgetOne()
      const upstream = createUpstream({ clock, random, observe }, options)
      known.set(options.name, { upstream, used: uses })
      return upstream
    },
    list: () => [...known.values()].map(({ upstream }) => upstream.facts()),
    named: (name) => known.get(name)?.upstream,
  }
}

function isHeld(upstream: AdaptableUpstream): boolean {
  return upstream.facts().state === 'held-open'
}
