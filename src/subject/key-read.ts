import type { Clock } from '../lib/clock.ts'
import { withDeadline } from '../resilience/deadline.ts'
import type { Upstream } from '../resilience/upstream.ts'
import {
  checkMetadata,
  isUsable,
  KeySourceFault,
  type Metadata,
  placeOf,
  type RemoteKeySource,
  readableKeys,
  readMetadata,
} from './key-documents.ts'
import type { AdmittedKeys } from './key-gate.ts'
import type { KeySnapshot, KeySnapshots } from './key-snapshots.ts'
import type { JsonDocuments } from './keys.ts'
import type { AlgorithmName } from './options.ts'

/** Where a failing or odd key source is told to the operator; a pino logger fits. */
export interface KeyLog {
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
}

/** A key set that passed the gate. */
export interface ReadSet {
  readonly admitted: AdmittedKeys
  /** Milliseconds since the epoch; of a set from disk, when it was read from its source. */
  readonly readAt: number
  /** Milliseconds for which it is fresh. */
  readonly life: number
  /** True when it comes from disk. */
  readonly isRestored: boolean
}

/** Reads the key set of one source, over the network or from what was kept of it on disk. */
export interface KeySetReader {
  /**
   * The set as its source has it now. Rejects when it cannot be read or is empty and, beside a good copy, also when no key of it can be used:
   * that is what a broken deployment publishes, and taking it for "all keys are withdrawn" would refuse every user.
   */
  read(hasGoodCopy: boolean): Promise<ReadSet>
  /** The last good set that was kept; undefined when there is none that may still be used. Never rejects. */
  restore(): Promise<ReadSet | undefined>
  /** A key was looked for in a set just read, and was not there: its issuer may have moved to another `jwks_uri`. */
  missed(): void
}

interface KeySetReaderDeps {
  readonly documents: JsonDocuments
  readonly clock: Clock
  readonly upstream: Pick<Upstream, 'call'>
  readonly snapshots: KeySnapshots | undefined
  readonly log: KeyLog | undefined
}

interface Discovered {
  readonly metadata: Metadata
  readonly readAt: number
  readonly life: number
}

const SECOND = 1000
const DEFAULT_LIFE = 600 * SECOND
const LEAST_LIFE = 60 * SECOND
const MOST_LIFE = 24 * 3600 * SECOND
/** A discovery document that cannot be read anew serves for one more day, as keys do. */
const STALE_IF_ERROR = 24 * 3600 * SECOND
/** While an older discovery document is at hand, a newer one is waited for no longer than this. */
const DISCOVERY_PATIENCE = 1 * SECOND
/** A disk that hangs holds up the first token of a source by no more than this. */
const DISK_PATIENCE = 0.5 * SECOND
/** Clocks of replicas that share a disk may differ by so much. */
const SKEW = 60 * SECOND

/** A reader of one source; what it reads passes the key gate with `algorithms`. */
export function createKeySetReader(
  { documents, clock, upstream, snapshots, log }: KeySetReaderDeps,
  source: RemoteKeySource,
  algorithms: readonly AlgorithmName[],
): KeySetReader {
  const place = placeOf(source)
  let discovered: Discovered | undefined
  let saving = false

  /** Discovery has a life of its own, so that a reading for a new key costs one request. */
  async function metadataOf(issuer: string, signal: AbortSignal): Promise<Metadata> {
    const now = clock.now()
    const known = discovered
    if (known && isWithin(now, known.readAt, known.life)) return known.metadata
    try {
      const { value, maxAgeSeconds } = await (known
        ? withDeadline(DISCOVERY_PATIENCE, (patience) =>
            readMetadata(documents, issuer, AbortSignal.any([signal, patience])),
          )
        : readMetadata(documents, issuer, signal))
      discovered = { metadata: value, readAt: clock.now(), life: lifeOf(maxAgeSeconds) }
      return value
    } catch (error) {
      if (!known || now >= known.readAt + known.life + STALE_IF_ERROR) throw error
      log?.warn({ source: place, err: error }, 'a discovery document could not be read anew')
      return known.metadata
    }
  }

  /** The next reading asks for the discovery document too, if it was not just read. */
  function doubtMetadata(): void {
    if (discovered) discovered = { ...discovered, life: Math.min(discovered.life, LEAST_LIFE) }
  }

  async function readOnce(hasGoodCopy: boolean, signal: AbortSignal) {
    const metadata =
      source.kind === 'discovery' ? await metadataOf(source.issuer, signal) : undefined
    const uri = metadata?.jwks_uri ?? (source.kind === 'jwksUri' ? source.uri : '')
    const { document: jwks, maxAgeSeconds } = await documents.fetch(uri, signal)
    const admitted = readableKeys(jwks, algorithms, metadata)
    if (hasGoodCopy && !isUsable(admitted))
      throw new KeySourceFault('the key set holds no key that can be used')
    return { admitted, kept: { place, readAt: clock.now(), metadata, jwks, maxAgeSeconds } }
  }

  /** Behind the answer, and one at a time: a disk that hangs must not collect key sets. */
  async function save(snapshot: KeySnapshot): Promise<void> {
    if (snapshots === undefined || saving) return
    saving = true
    try {
      await withDeadline(DISK_PATIENCE, (signal) => snapshots.save(snapshot, signal))
    } catch (error) {
      log?.warn({ source: place, err: error }, 'a key set could not be kept on disk')
    } finally {
      saving = false
    }
  }

  return {
    async read(hasGoodCopy) {
      try {
        const { admitted, kept } = await upstream.call((signal) => readOnce(hasGoodCopy, signal))
        if (isUsable(admitted)) void save(kept)
        const life = lifeOf(kept.maxAgeSeconds)
        return { admitted, readAt: kept.readAt, life, isRestored: false }
      } catch (error) {
        doubtMetadata()
        throw error
      }
    },

    async restore() {
      if (snapshots === undefined) return undefined
      try {
        const kept = await withDeadline(DISK_PATIENCE, (signal) => snapshots.load(place, signal))
        const now = clock.now()
        if (kept === undefined || kept.place !== place || kept.readAt > now + SKEW) return undefined
        // Nothing on disk is believed more than what comes over the network.
        const metadata =
          source.kind === 'discovery' ? checkMetadata(kept.metadata, source.issuer) : undefined
        const admitted = readableKeys(kept.jwks, algorithms, metadata)
        if (!isUsable(admitted)) return undefined
        const readAt = Math.min(kept.readAt, now)
        if (metadata) discovered = { metadata, readAt, life: 0 }
        return { admitted, readAt, life: lifeOf(kept.maxAgeSeconds), isRestored: true }
      } catch (error) {
        log?.warn({ source: place, err: error }, 'a key set on disk could not be used')
        return undefined
      }
    },

    missed: doubtMetadata,
  }
}

function lifeOf(maxAgeSeconds: number | undefined): number {
  const life = maxAgeSeconds === undefined ? DEFAULT_LIFE : maxAgeSeconds * SECOND
  return Math.min(Math.max(life, LEAST_LIFE), MOST_LIFE)
}

/** True in the given time after `since`; false also before it, so that a clock set back never freezes a wait. */
export function isWithin(now: number, since: number, milliseconds: number): boolean {
  return now >= since && now < since + milliseconds
}
