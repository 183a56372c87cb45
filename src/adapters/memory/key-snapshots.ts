import type { KeySnapshot, KeySnapshots } from '../../subject/key-snapshots.ts'

/** Last good key sets in this process, for tests: they live through a restart that keeps this object. */
export function createMemoryKeySnapshots(): KeySnapshots {
  const kept = new Map<string, KeySnapshot>()
  return {
    load: (place) => Promise.resolve(structuredClone(kept.get(place))),
    save(snapshot) {
      kept.set(snapshot.place, structuredClone(snapshot))
      return Promise.resolve()
    },
  }
}
