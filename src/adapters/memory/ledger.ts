import type { Claim, Ledger, LedgerDetails, LedgerEntry, StoredEntry } from '../../audit/ledger.ts'
import type { Clock } from '../../lib/clock.ts'

const keyOf = (...parts: readonly string[]) => JSON.stringify(parts)

/** What is kept of an entry: a copy, with the details as the JSON that a database would hold. */
interface Kept {
  readonly entry: StoredEntry
  readonly details: string
}

function copyOf({ entry, details: json }: Kept): StoredEntry {
  const details: LedgerDetails = JSON.parse(json)
  return {
    ...entry,
    ...(entry.digest === undefined ? {} : { digest: Buffer.from(entry.digest) }),
    details,
  }
}

function refuseAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new Error('The call was given up before it began.')
}

/** A ledger in memory, for tests and simulations: it keeps every promise of the port but to outlive the process. */
export function createMemoryLedger({ clock }: { readonly clock: Clock }): Ledger {
  const entries: Kept[] = []
  const byId = new Map<string, Kept>()
  const digests = new Set<string>()
  const once = new Map<string, number>()
  const owners = new Map<string, string>()

  /** Makes a claim; false when somebody else has it. */
  function claim(wanted: Claim, now: number): boolean {
    if (wanted.kind === 'pin') {
      const key = keyOf(wanted.tenant, wanted.key)
      const owner = owners.get(key) ?? wanted.owner
      owners.set(key, owner)
      return owner === wanted.owner
    }
    const key = keyOf(wanted.scope, wanted.tenant, wanted.key)
    const expiresAt = once.get(key)
    if (expiresAt !== undefined && expiresAt >= now) return false
    once.set(key, wanted.expiresAt)
    return true
  }

  function record(entry: LedgerEntry): void {
    const id = keyOf(entry.tenant, entry.id)
    const digest =
      entry.digest === undefined ? undefined : keyOf(entry.tenant, entry.digest.toString('hex'))
    if (byId.has(id) || (digest !== undefined && digests.has(digest)))
      throw new Error('The entry was not recorded: its id or digest is recorded already.')
    const kept = {
      entry: {
        ...entry,
        ...(entry.digest === undefined ? {} : { digest: Buffer.from(entry.digest) }),
        position: entries.length + 1,
      },
      details: JSON.stringify(entry.details),
    }
    entries.push(kept)
    byId.set(id, kept)
    if (digest !== undefined) digests.add(digest)
  }

  return {
    async append(entry, claims, signal) {
      refuseAborted(signal)
      const now = clock.now()
      const conflict = claims.map((one) => claim(one, now)).indexOf(false)
      const lost = conflict === -1 ? undefined : claims[conflict]
      if (lost !== undefined) return { recorded: false, conflict: lost }
      if (entry !== undefined) record(entry)
      return { recorded: true }
    },

    async holds(tenant, digest, signal) {
      refuseAborted(signal)
      return digests.has(keyOf(tenant, digest.toString('hex')))
    },

    async find(tenant, id, signal) {
      refuseAborted(signal)
      const kept = byId.get(keyOf(tenant, id))
      return kept === undefined ? undefined : copyOf(kept)
    },

    async recent(tenant, limit, before, signal) {
      refuseAborted(signal)
      return entries
        .filter(({ entry }) => entry.tenant === tenant && entry.position < (before ?? Infinity))
        .slice(limit === 0 ? entries.length : -limit)
        .toReversed()
        .map(copyOf)
    },

    async expireClaims(now, signal) {
      refuseAborted(signal)
      const expired = [...once].filter(([, expiresAt]) => expiresAt < now)
      for (const [key] of expired) once.delete(key)
      return expired.length
    },
  }
}
