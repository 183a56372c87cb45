/** One step into a parsed JSON answer: a member by name, or every element of an array. */
type Step = { readonly member: string } | 'each'

/** A path that was taken apart once. */
export type AnswerPath = readonly Step[]

/** The answer does not have the shape the configuration says it has. The message is for the operator. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError'
}

const NAME = /^[A-Za-z_$][\w$-]*/
const EACH = '[*]'

/**
 * Takes `items[*].role`, `[*]`, `data.roles[*]` or `roles` apart.
 * @throws {ShapeError} when it is no path.
 */
export function compilePath(path: string): AnswerPath {
  const steps: Step[] = []
  let rest = path
  while (rest !== '') {
    if (rest.startsWith(EACH)) {
      steps.push('each')
      rest = rest.slice(EACH.length)
    } else {
      // A dot goes before every name but the first, and nowhere else.
      const dotted = rest.startsWith('.')
      const name = NAME.exec(dotted ? rest.slice(1) : rest)?.[0]
      if (name === undefined || dotted !== steps.length > 0)
        throw new ShapeError(`not a path: ${path}`)
      steps.push({ member: name })
      rest = rest.slice(name.length + (dotted ? 1 : 0))
    }
  }
  if (steps.length === 0) throw new ShapeError('an empty path')
  return steps
}

/**
 * Takes apart a path to one value, as for the next page and the echo.
 * @throws {ShapeError} when it is none: with `[*]` it would never be found, and a next page never found looks like the last one.
 */
export function compilePathToOne(path: string): readonly string[] {
  return compilePath(path).map((step) => {
    if (step === 'each') throw new ShapeError(`a path to one value has no [*]: ${path}`)
    return step.member
  })
}

/** Takes apart a path to roles, or to other things in a list; without any `[*]` it names an array of them. */
export function compilePathToList(path: string): AnswerPath {
  const steps = compilePath(path)
  return steps.includes('each') ? steps : [...steps, 'each']
}

/**
 * Adds the strings at `path` to `into`.
 *
 * What is not there is an error, not an empty list: an answer of another shape must never read as "no roles".
 * @throws {ShapeError} on a missing member, on anything but a string at the end, and past `limit` strings in all.
 */
export function collectStrings(
  answer: unknown,
  path: AnswerPath,
  into: string[],
  limit: number,
): void {
  const reached = collect(answer, path)
  if (into.length + reached.length > limit) throw new ShapeError(`more than ${limit} roles`)
  for (const value of reached) {
    if (typeof value !== 'string') throw new ShapeError('a role is not a string')
    into.push(value)
  }
}

/**
 * Everything at `path`, whatever it is.
 * @throws {ShapeError} on a missing member, and where `[*]` meets no array.
 */
export function collect(answer: unknown, path: AnswerPath): readonly unknown[] {
  let reached: readonly unknown[] = [answer]
  for (const step of path) {
    reached =
      step === 'each'
        ? reached.flatMap(elementsOf)
        : reached.map((one) => memberOf(one, step.member))
  }
  return reached
}

/**
 * The value at `path`, or undefined when it or a member on the way to it is absent or null.
 * @throws {ShapeError} when something on the way is no object, so that the answer has another shape altogether.
 */
export function optionalAt(answer: unknown, path: readonly string[]): unknown {
  let reached: unknown = answer
  for (const name of path) {
    if (reached === undefined || reached === null) return undefined
    if (!isObject(reached)) throw new ShapeError(`no object to have the member ${name}`)
    reached = Object.hasOwn(reached, name) ? reached[name] : undefined
  }
  return reached ?? undefined
}

function elementsOf(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new ShapeError('[*] stands where the answer has no array')
  return value
}

// Own members only: `constructor` or `toString` of the prototype are nothing the source said.
function memberOf(value: unknown, name: string): unknown {
  if (!isObject(value) || !Object.hasOwn(value, name)) throw new ShapeError(`no member ${name}`)
  return value[name]
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
