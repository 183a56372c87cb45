/** Which key something belongs to. */
export interface KeyName {
  readonly tenant: string
  readonly kid: string
}

/** Wraps the data keys of private halves by a key that never leaves its keeper. Every call settles before `signal` fires or rejects. */
export interface KeyWrap {
  /** @throws {DependencyUnavailable} when the keeper gave no answer. */
  wrap(name: KeyName, plaintext: Buffer, signal: AbortSignal): Promise<Buffer>
  /**
   * Every call gives a buffer of its own, which the caller overwrites with zeros.
   * @throws {DependencyUnavailable} when the keeper gave no answer; another error when it was wrapped for another name.
   */
  unwrap(name: KeyName, wrapped: Buffer, signal: AbortSignal): Promise<Buffer>
}
