/**
 * A setting as rooms get it: asked for at each use, so that a changed one takes effect at once. This one never changes; a
 * configuration that can be reloaded hands out others.
 */
export function fixed<T>(value: T): () => T {
  return () => value
}
