/**
 * Building blocks for the rooms' `options.ts`: TypeBox schemas that also say, for every key, what it means,
 * what it is when left out, and whether a change takes effect at once (`hot`) or at the next start (`restart`).
 */
import Type, { type Static, type TSchema } from 'typebox'
import {
  DURATION_PATTERN,
  parseDuration,
  parseRate,
  parseSize,
  RATE_PATTERN,
  type Rate,
  SIZE_PATTERN,
} from './duration.ts'
import type { Secret } from './secret.ts'

/** When a changed value takes effect. */
export type Reload = 'hot' | 'restart'

/** What every configuration key carries besides its type. */
export interface OptionNotes {
  readonly description: string
  readonly reload: Reload
  readonly default?: unknown
}

function notes({ description, reload, default: fallback }: OptionNotes): Record<string, unknown> {
  return {
    description,
    'x-reload': reload,
    ...(fallback === undefined ? {} : { default: fallback }),
  }
}

/** A length of time: `250ms`, `30s`, `12h`, `30d`. */
export const duration = (about: OptionNotes) =>
  Type.String({ ...notes(about), 'x-kind': 'duration', pattern: DURATION_PATTERN })

/** A number of bytes: `512B`, `16KiB`. */
export const size = (about: OptionNotes) =>
  Type.String({ ...notes(about), 'x-kind': 'size', pattern: SIZE_PATTERN })

/** A rate: `50/s`, `10/m`. */
export const rate = (about: OptionNotes) =>
  Type.String({ ...notes(about), 'x-kind': 'rate', pattern: RATE_PATTERN })

/** A text; `pattern` narrows it. */
export const text = (
  about: OptionNotes & { readonly pattern?: string; readonly maxLength?: number },
) =>
  Type.String({
    ...notes(about),
    minLength: 1,
    ...(about.pattern === undefined ? {} : { pattern: about.pattern }),
    ...(about.maxLength === undefined ? {} : { maxLength: about.maxLength }),
  })

/** An absolute http(s) URL; whether http is good enough is decided where the profile is known. */
export const url = (about: OptionNotes) =>
  Type.String({ ...notes(about), 'x-kind': 'url', pattern: '^https?://[^\\s#]+$' })

/** Where to listen: `127.0.0.1:8080`, `[::1]:8080`, `0.0.0.0:0`. */
export const address = (about: OptionNotes) =>
  Type.String({
    ...notes(about),
    'x-kind': 'address',
    pattern: '^(\\[[0-9a-fA-F:.]+\\]|[^\\s:/]+):[0-9]{1,5}$',
  })

/** Yes or no. */
export const flag = (about: OptionNotes) => Type.Boolean(notes(about))

/** A whole number within bounds. */
export const count = (
  about: OptionNotes & { readonly minimum: number; readonly maximum: number },
) => Type.Integer({ ...notes(about), minimum: about.minimum, maximum: about.maximum })

/** One of a few words. */
export const choice = <const T extends string[]>(about: OptionNotes, words: readonly [...T]) =>
  Type.Enum([...words] as [...T], notes(about))

/** A list of texts. */
export const texts = (
  about: OptionNotes & { readonly minItems?: number; readonly uniqueItems?: boolean },
) =>
  Type.Array(Type.String({ minLength: 1 }), {
    ...notes(about),
    uniqueItems: about.uniqueItems ?? true,
    ...(about.minItems === undefined ? {} : { minItems: about.minItems }),
  })

/**
 * A secret, in the file only as a reference `${env:NAME}`, `${file:PATH}` or `${vault:PATH#FIELD}`; a literal is
 * refused. The loader puts a {@link Secret} in its place.
 */
export const secret = (about: OptionNotes) =>
  Type.Unsafe<Secret>(
    Type.String({
      ...notes(about),
      'x-kind': 'secret',
      pattern: '^\\$\\{(env|file|vault):[^}\\s]+\\}$',
    }),
  )

/** A group of keys; anything not named here is refused. */
export const group = <T extends Record<string, TSchema>>(
  properties: T,
  about: { readonly description: string; readonly default?: unknown },
) =>
  Type.Object(properties, {
    additionalProperties: false,
    description: about.description,
    ...(about.default === undefined ? {} : { default: about.default }),
  })

/** A group of keys of which exactly one may be given, as with the ways a client can authenticate. */
export const oneOf = <T extends Record<string, TSchema>>(
  properties: T,
  about: { readonly description: string },
) =>
  Type.Partial(Type.Object(properties), {
    additionalProperties: false,
    minProperties: 1,
    maxProperties: 1,
    description: about.description,
  })

/** Things by name; the name is chosen by the operator. */
export const named = <T extends TSchema>(
  schema: T,
  about: { readonly description: string; readonly pattern?: string },
) =>
  Type.Unsafe<Record<string, Static<T>>>(
    Type.Object(
      {},
      {
        description: about.description,
        additionalProperties: schema,
        propertyNames: Type.String({
          pattern: about.pattern ?? '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$',
        }),
      },
    ),
  )

function must<T>(value: T | undefined, what: string, given: string): T {
  if (value === undefined) throw new TypeError(`not a ${what}: ${JSON.stringify(given)}`)
  return value
}

/** Milliseconds of a duration that the schema has already accepted. */
export const milliseconds = (given: string): number => must(parseDuration(given), 'duration', given)

/** Whole seconds of a duration that the schema has already accepted, rounded down. */
export const seconds = (given: string): number => Math.floor(milliseconds(given) / 1000)

/** Bytes of a size that the schema has already accepted. */
export const bytes = (given: string): number => must(parseSize(given), 'size', given)

/** The rate that the schema has already accepted. */
export const perTime = (given: string): Rate => must(parseRate(given), 'rate', given)
