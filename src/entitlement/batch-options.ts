import Type, { type Static } from 'typebox'
import { count, duration, group, milliseconds, text, url } from '../lib/option.ts'

/** `batch` of a source. */
export const batchSchema = group(
  {
    url: url({
      description: 'Address of the endpoint; of the same origin as `url`.',
      reload: 'hot',
    }),
    users: Type.Optional(
      text({
        description: 'Member of the request body that lists the users.',
        reload: 'hot',
        default: 'users',
      }),
    ),
    answers: Type.Optional(
      text({
        description: 'Where the answers are in the body, one a user.',
        reload: 'hot',
        default: 'answers[*]',
      }),
    ),
    user: Type.Optional(
      text({ description: 'Where an answer names its user.', reload: 'hot', default: 'user' }),
    ),
    roles: Type.Optional(
      text({ description: 'Where an answer has its roles.', reload: 'hot', default: 'roles' }),
    ),
    unknown: Type.Optional(
      text({
        description: 'Where the body lists users that the source does not know.',
        reload: 'hot',
      }),
    ),
    window: Type.Optional(
      duration({
        description: 'How long the first look-up waits for others to share its request.',
        reload: 'hot',
        default: '5ms',
      }),
    ),
    max: Type.Optional(
      count({
        description: 'Most users in one request.',
        reload: 'hot',
        default: 100,
        minimum: 1,
        maximum: 1000,
      }),
    ),
  },
  {
    description:
      'An endpoint that answers for many users at once: POST with a JSON body. Then pages are not read one by one.',
  },
)

/** One request for the roles of many users. `userPath` and `rolesPath` start at one answer. */
export interface SourceBatch {
  readonly url: string
  /** Member of the request body that lists the users. */
  readonly usersMember: string
  /** Where the answers are in the body, e.g. `answers[*]`. */
  readonly answersPath: string
  readonly userPath: string
  readonly rolesPath: string
  /** Where the body lists the users that the source does not know; undefined: it never says so. */
  readonly unknownPath: string | undefined
  readonly windowMilliseconds: number
  readonly max: number
}

/** Turns a checked `batch` section into a {@link SourceBatch}. */
export function toBatch(batch: Static<typeof batchSchema>): SourceBatch {
  return {
    url: batch.url,
    usersMember: batch.users ?? 'users',
    answersPath: batch.answers ?? 'answers[*]',
    userPath: batch.user ?? 'user',
    rolesPath: batch.roles ?? 'roles',
    unknownPath: batch.unknown,
    windowMilliseconds: milliseconds(batch.window ?? '5ms'),
    max: batch.max ?? 100,
  }
}
