/** What a cut-off rule may name: so far a signing key, by its kid. */
export const CUTOFF_KINDS = ['kid'] as const

/** What a cut-off rule names. */
export type CutoffKind = (typeof CUTOFF_KINDS)[number]

/** A cut-off as it is asked for. Times are milliseconds since the epoch. */
export interface NewCutoff {
  readonly tenant: string
  readonly kind: CutoffKind
  readonly id: string
  /** Tokens with `iat` at or before it are dead; with `kid` every token that the key signed or will seem to have signed is. */
  readonly notBefore: number
  readonly reason: string
  readonly by: string
  readonly at: number
}

/** A cut-off rule that is in force. */
export interface CutoffRule extends NewCutoff {
  /** 1, 2, 3 … without a gap, in the order of commit, over all tenants. */
  readonly seq: number
}

/**
 * Holds the cut-off rules: the truth that every replica copies into its memory.
 * Every adapter passes `test/contracts/cutoff-store.ts`.
 */
export interface CutoffStore {
  /**
   * Writes a rule and gives it the next number. Durable on resolve. The same tenant, kind and id a second time gives the rule that is
   * there and writes nothing. Who sees number n sees every smaller number.
   */
  add(cutoff: NewCutoff, signal: AbortSignal): Promise<CutoffRule>
  /** The rules with a greater number than `seq`, in order, at most 1000. */
  since(seq: number, signal: AbortSignal): Promise<readonly CutoffRule[]>
}
