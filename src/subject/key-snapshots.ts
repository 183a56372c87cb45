/** The last document of an issuer that was fetched and found good. Public data; its integrity is the file system's. */
export interface KeySnapshot {
  /** Kind and address of the key source. */
  readonly place: string
  /** When it was read; milliseconds since the epoch. Its age counts from here, also after a restart. */
  readonly readAt: number
  /** Discovery metadata, when keys were found that way. */
  readonly metadata: unknown
  readonly jwks: unknown
  readonly maxAgeSeconds: number | undefined
}

/**
 * Last-good key sets on disk, so that a restart with the IdP down still knows its keys. Losing them costs availability, never safety:
 * what is read passes the same gate as what is fetched.
 */
export interface KeySnapshots {
  /** The snapshot of a place; undefined when there is none or it is not readable as one. */
  load(place: string, signal: AbortSignal): Promise<KeySnapshot | undefined>
  /** Replaces it whole or not at all. */
  save(snapshot: KeySnapshot, signal: AbortSignal): Promise<void>
}
