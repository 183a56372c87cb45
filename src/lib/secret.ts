import { inspect } from 'node:util'

const PRINTED = '[redacted]'

/**
 * A value that must not be printed by accident: a token, an assertion, a password, a key.
 *
 * String conversion, JSON and `util.inspect` all give `[redacted]`; only `reveal()` gives the value, so
 * every place that needs it is found by searching for that word.
 */
export class Secret<T = string> {
  readonly #value: T

  constructor(value: T) {
    this.#value = value
  }

  /** The value itself. Call it at the last moment and keep the result in a local. */
  reveal(): T {
    return this.#value
  }

  /** A secret made from this one, never leaving the wrapper on the way. */
  map<U>(make: (value: T) => U): Secret<U> {
    return new Secret(make(this.#value))
  }

  toString(): string {
    return PRINTED
  }

  toJSON(): string {
    return PRINTED
  }

  [inspect.custom](): string {
    return PRINTED
  }
}
