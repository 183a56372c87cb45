/**
 * A dependency gave no answer: it is down, sealed, overloaded or too slow, so that nothing is known. Never thrown when it did answer:
 * "there is no such thing", "you may not" and "this is broken" are answers. The message names no address and holds no secret.
 */
export class DependencyUnavailable extends Error {
  override readonly name = 'DependencyUnavailable'
}
