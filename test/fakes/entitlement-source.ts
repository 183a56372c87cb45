import type { Source } from '../../src/entitlement/options.ts'
import { type EntitlementSource, SourceFailure } from '../../src/entitlement/source.ts'

/** An entitlement source in memory: users by source name and user, and calls that can be held back or fail. */
export interface FakeEntitlementSource extends EntitlementSource {
  /** Says that this source knows the user with these roles. */
  know(source: string, user: string, roles: readonly string[]): void
  /** Makes every call of this source fail, or answer again with undefined. */
  fail(source: string, kind: SourceFailure['kind'] | undefined): void
  /** Holds every call from now on until the function returned is called. */
  hold(): () => void
  /** Calls so far, as `source/user`. */
  readonly calls: readonly string[]
}

/** Makes an empty one. */
export function createFakeEntitlementSource(): FakeEntitlementSource {
  const known = new Map<string, readonly string[]>()
  const failing = new Map<string, SourceFailure['kind']>()
  const calls: string[] = []
  let gate: Promise<void> | undefined
  return {
    calls,
    know: (source, user, roles) => void known.set(`${source}/${user}`, roles),
    fail(source, kind) {
      if (kind) failing.set(source, kind)
      else failing.delete(source)
    },
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>()
      gate = promise
      return () => {
        gate = undefined
        resolve()
      }
    },
    async rolesOf({ name }, user, maxRoles, signal) {
      calls.push(`${name}/${user}`)
      if (gate) await Promise.race([gate, fired(signal)])
      if (signal.aborted) throw new SourceFailure(name, 'timeout', 'no answer in time')
      const kind = failing.get(name)
      if (kind) throw new SourceFailure(name, kind, `made to fail: ${kind}`)
      const roles = known.get(`${name}/${user}`)
      if (!roles) return { known: false }
      if (roles.length > maxRoles) throw new SourceFailure(name, 'contract', 'too many roles')
      return { known: true, roles }
    },
  }
}

function fired(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/** A configured source; what a test is not about has a value that does not matter. */
export function sourceOf(overrides: Partial<Source> = {}): Source {
  return {
    name: 'hr',
    url: 'https://hr.example.test/users/{user}/roles',
    idps: undefined,
    auth: undefined,
    rolesPath: 'items[*].role',
    nextPagePath: 'next',
    echoPath: undefined,
    maxPages: 20,
    consistency: { kind: 'none' },
    batch: undefined,
    concurrency: 64,
    connectMilliseconds: 10_000,
    readMilliseconds: 10_000,
    totalMilliseconds: 10_000,
    freshMilliseconds: 60_000,
    staleMilliseconds: 0,
    staleIfErrorMilliseconds: 0,
    unknownUserMilliseconds: 30_000,
    onFailure: 'deny',
    limited: undefined,
    webhookKey: undefined,
    ...overrides,
  }
}
