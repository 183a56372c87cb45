import { DependencyUnavailable } from '../../lib/unavailable.ts'
import { type Breaker, BreakerOpen } from '../../resilience/breaker.ts'
import { type UpstreamOptions, UpstreamRefused, type Upstreams } from '../../resilience/upstream.ts'

/** Batches at the same time, of all keys together; each brings up to 64 signatures. */
const CONCURRENCY = 64

/**
 * Transit as one of the dependencies that operators see and can hold open, for the signer to ask through.
 *
 * Not tried again: a signature that came late is no use to anybody, and who waits for it has little time left. Not refused for being slow
 * either: while Transit signs at all, a slow token is better than none.
 */
export function createTransitBreaker(
  upstreams: Pick<Upstreams, 'for'>,
  { timeoutMilliseconds }: { readonly timeoutMilliseconds: number },
): Pick<Breaker, 'run' | 'retryAfterSeconds'> {
  const options: UpstreamOptions = {
    name: 'vault transit',
    tenant: undefined,
    kind: 'vault',
    totalMilliseconds: timeoutMilliseconds,
    concurrency: CONCURRENCY,
    // Only silence counts. An answer of 400 or 403 is about one key or one right: a tenant whose key was deleted by mistake must not stop all.
    judge: (error) => ({
      kind: error instanceof DependencyUnavailable ? 'failure' : 'answer',
      retryable: false,
    }),
    bounds: {
      retries: 0,
      slowShare: 1,
      window: {
        calls: 20,
        ageMilliseconds: 30_000,
        leastCalls: 5,
        failureShare: 0.5,
        slowShare: 1,
      },
    },
  }
  return {
    async run(work) {
      try {
        return await upstreams.for(options).call(() => work())
      } catch (error) {
        if (error instanceof UpstreamRefused) throw new BreakerOpen(error.retryAfterSeconds)
        throw error
      }
    },
    retryAfterSeconds: () => upstreams.for(options).facts().retryAfterSeconds,
  }
}
