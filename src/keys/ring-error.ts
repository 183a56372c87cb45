/** Why a ring did not change. Stable: the admin API and the command line are written against it. */
export type RingErrorReason =
  | 'published_too_recently'
  | 'no_successor'
  | 'algorithm_not_in_ring'
  | 'kid_already_used'
  | 'kid_unknown'
  | 'wrong_state'
  | 'still_needed'
  | 'already_compromised'
  | 'changed_meanwhile'

/** A transition that the ring does not allow. The message is for the operator and holds no secret. */
export class RingError extends Error {
  override readonly name = 'RingError'
  readonly reason: RingErrorReason
  /** With `published_too_recently` and `still_needed`: the first instant at which the same change is allowed (milliseconds since the epoch). */
  readonly allowedFrom: number | undefined

  constructor(reason: RingErrorReason, message: string, allowedFrom?: number) {
    super(message)
    this.reason = reason
    this.allowedFrom = allowedFrom
  }
}
