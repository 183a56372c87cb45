import type { Source } from './options.ts'

/** What a source says about a user. */
export type SourceAnswer =
  | { readonly known: true; readonly roles: readonly string[] }
  | { readonly known: false }

/**
 * Asks one entitlement source. Every adapter passes `test/contracts/entitlement-source.ts`.
 */
export interface EntitlementSource {
  /**
   * The complete set of roles the source has for `user`: every page, or nothing. Order and duplicates are as the source gave them.
   * `known: false` only when the source says so (404). At most `maxRoles` roles and `source.maxPages` pages.
   * @throws {SourceFailure} for anything else: no answer in time, a broken or partial answer, too many roles, an answer about another user.
   */
  rolesOf(
    source: Source,
    user: string,
    maxRoles: number,
    signal: AbortSignal,
  ): Promise<SourceAnswer>
}

/** A source did not give a usable answer. The message names what was wrong, for the operator; it never reaches a caller. */
export class SourceFailure extends Error {
  override readonly name = 'SourceFailure'
  readonly kind: 'unreachable' | 'timeout' | 'status' | 'contract'
  readonly source: string

  constructor(source: string, kind: SourceFailure['kind'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.source = source
    this.kind = kind
  }
}
