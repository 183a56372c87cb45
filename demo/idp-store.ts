import type { Adapter, AdapterFactory, AdapterPayload } from 'oidc-provider'

interface Stored {
  readonly payload: AdapterPayload
  /** Milliseconds since the epoch; Infinity for what never expires. */
  readonly expiresAt: number
}

/** Past this many entries, what has expired is thrown out before more is stored. */
const SWEEP_AT = 10_000

/**
 * State of an oidc-provider in memory. Its own development adapter would do the same, but warns on every start and
 * silently forgets everything past 1000 entries. One factory may serve several providers in turn, so pending
 * requests survive a key rotation.
 */
export function createIdpStore(now: () => number = Date.now): AdapterFactory {
  const entries = new Map<string, Stored>()
  return (model) => createAdapter(model, entries, now)
}

function createAdapter(model: string, entries: Map<string, Stored>, now: () => number): Adapter {
  const keyOf = (id: string) => `${model}:${id}`
  const find = (matches: (payload: AdapterPayload) => boolean) => {
    for (const [key, { payload }] of entries)
      if (key.startsWith(`${model}:`) && matches(payload)) return payload
    return undefined
  }
  return {
    async upsert(id, payload, expiresIn) {
      if (entries.size >= SWEEP_AT) sweep(entries, now())
      const expiresAt = expiresIn === undefined ? Infinity : now() + expiresIn * 1000
      entries.set(keyOf(id), { payload, expiresAt })
    },
    async find(id) {
      const stored = entries.get(keyOf(id))
      return stored && stored.expiresAt > now() ? stored.payload : undefined
    },
    async findByUid(uid) {
      return find((payload) => payload.uid === uid)
    },
    async findByUserCode(userCode) {
      return find((payload) => payload.userCode === userCode)
    },
    async consume(id) {
      const stored = entries.get(keyOf(id))
      if (stored) stored.payload.consumed = Math.floor(now() / 1000)
    },
    async destroy(id) {
      entries.delete(keyOf(id))
    },
    async revokeByGrantId(grantId) {
      for (const [key, { payload }] of entries) if (payload.grantId === grantId) entries.delete(key)
    },
  }
}

function sweep(entries: Map<string, Stored>, now: number): void {
  for (const [key, { expiresAt }] of entries) if (expiresAt <= now) entries.delete(key)
}
