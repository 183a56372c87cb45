import type { AdminTokenRecord, AdminTokenStore } from '../../http/admin-tokens.ts'

function refuseAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new Error('The call was given up before it began.')
}

const copyOf = (record: AdminTokenRecord) => ({ ...record, hash: Buffer.from(record.hash) })

/** Break-glass tokens in memory, for tests and simulations. */
export function createMemoryAdminTokenStore(): AdminTokenStore {
  const records = new Map<string, AdminTokenRecord>()
  return {
    async add(record, signal) {
      refuseAborted(signal)
      const key = record.hash.toString('hex')
      if (records.has(key)) throw new Error('An admin token with this hash exists already.')
      records.set(key, copyOf(record))
    },

    async find(hash, signal) {
      refuseAborted(signal)
      const record = records.get(hash.toString('hex'))
      return record === undefined ? undefined : copyOf(record)
    },

    async expire(now, signal) {
      refuseAborted(signal)
      for (const [key, { expiresAt }] of records) if (expiresAt < now) records.delete(key)
    },
  }
}
