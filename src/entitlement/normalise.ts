import { SourceFailure } from './source.ts'

/** Longest role name a source may send, in UTF-16 units; a longer one is taken for something that is no role. */
export const MAX_ROLE_LENGTH = 256

/** Control characters, and the two line breaks that are none by category. */
const CONTROL = /[\p{Cc}\u2028\u2029]/u

/**
 * The roles of one source as a set: sorted by code unit and without duplicates, so that the result does not depend on
 * the order of pages or elements.
 *
 * One role that cannot be one spoils the whole answer. Dropping it would be a partial set, and a line break in a role
 * would travel on into headers and logs of whoever reads our token.
 * @throws {SourceFailure} `contract`.
 */
export function normaliseRoles(source: string, roles: readonly string[]): readonly string[] {
  for (const role of roles) {
    if (role.length === 0 || role.length > MAX_ROLE_LENGTH) {
      throw new SourceFailure(source, 'contract', `a role has ${role.length} characters`)
    }
    if (CONTROL.test(role)) {
      throw new SourceFailure(source, 'contract', 'a role has a control character or line break')
    }
    // A lone surrogate has no UTF-8 form: what is signed and what is recorded would differ.
    if (!role.isWellFormed()) {
      throw new SourceFailure(source, 'contract', 'a role is not well-formed Unicode')
    }
  }
  return Object.freeze([...new Set(roles)].toSorted())
}

/** The union of several normalised sets, normalised again. */
export function unionOfRoles(sets: readonly (readonly string[])[]): readonly string[] {
  return Object.freeze([...new Set(sets.flat())].toSorted())
}
