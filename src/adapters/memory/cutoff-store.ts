import type { CutoffRule, CutoffStore } from '../../cutoff/store.ts'

const MOST_AT_ONCE = 1000

/** Cut-off rules in memory, for tests and simulations. */
export function createMemoryCutoffStore(): CutoffStore {
  const rules: CutoffRule[] = []
  return {
    async add(cutoff, signal) {
      signal.throwIfAborted()
      const known = rules.find(
        ({ tenant, kind, id }) =>
          tenant === cutoff.tenant && kind === cutoff.kind && id === cutoff.id,
      )
      if (known) return known
      const rule = { ...cutoff, seq: rules.length + 1 }
      rules.push(rule)
      return rule
    },

    async since(seq, signal) {
      signal.throwIfAborted()
      return rules.slice(seq, seq + MOST_AT_ONCE)
    },
  }
}
