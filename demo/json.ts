/** The value as a JSON object. @throws {TypeError} when it is anything else. */
export function jsonObject(value: unknown): Record<string, unknown> {
  if (!isObject(value)) throw new TypeError('a JSON object was expected')
  return value
}

/** A text member of a JSON object. @throws {TypeError} when it is missing or no text. */
export function textIn(object: Record<string, unknown>, name: string): string {
  const value = object[name]
  if (typeof value !== 'string') throw new TypeError(`a text was expected as ${name}`)
  return value
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
