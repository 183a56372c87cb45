import Type, { type Static } from 'typebox'
import Value from 'typebox/value'
import type { AdminClient } from './admin-client.ts'
import { EXIT } from './exit-codes.ts'
import { CommandFailure } from './terminal.ts'

const time = Type.Optional(Type.String())

const keySchema = Type.Object({
  kid: Type.String(),
  alg: Type.String(),
  state: Type.String(),
  created_at: Type.String(),
  published_at: time,
  activated_at: time,
  verify_only_at: time,
  retired_at: time,
  compromised_at: time,
  activatable_from: time,
  due_at: time,
  sign_until: time,
  retirable_from: time,
  signatures: Type.Optional(Type.Number()),
  last_signed_at: time,
  seen_by_all: Type.Optional(Type.Boolean()),
  reason: Type.String(),
})

const ringSchema = Type.Object({
  tenant: Type.String(),
  version: Type.Number(),
  keys: Type.Array(keySchema),
})

const consumersSchema = Type.Object({
  consumers: Type.Array(
    Type.Object({
      consumer: Type.String(),
      last_fetch_at: time,
      fetches: Type.Number(),
      kids: Type.Array(Type.String()),
      keeps_seconds: Type.Number(),
      lacks: Type.Array(Type.String()),
      exposed: Type.Array(Type.Object({ kid: Type.String(), until: Type.String() })),
    }),
  ),
})

/** A key as the admin API shows it; times are ISO 8601. Members that a newer server adds are kept. */
export type KeyFacts = Static<typeof keySchema>

/** The key ring of a tenant. */
export type RingFacts = Static<typeof ringSchema>

/** What configured verifiers have fetched. */
export type ConsumersFacts = Static<typeof consumersSchema>

/** The key ring of a tenant. @throws {CommandFailure}. */
export async function readRing(admin: AdminClient, tenant: string): Promise<RingFacts> {
  return asRing(await admin.call('GET', `/keys?${new URLSearchParams({ tenant }).toString()}`))
}

/** Which verifier fetched which key set. @throws {CommandFailure}. */
export async function readConsumers(admin: AdminClient, tenant: string): Promise<ConsumersFacts> {
  const query = new URLSearchParams({ tenant }).toString()
  const facts = await admin.call('GET', `/keys/consumers?${query}`)
  if (Value.Check(consumersSchema, facts)) return facts
  throw unexpected()
}

/** An answer that holds a ring. @throws {CommandFailure} exit 1 when it does not. */
export function asRing(facts: unknown): RingFacts {
  if (Value.Check(ringSchema, facts)) return facts
  throw unexpected()
}

function unexpected(): CommandFailure {
  return new CommandFailure(
    EXIT.bug,
    'the answer of the server was not understood; is it of another version?',
  )
}

/** As few characters as a person may type for a kid: with fewer, a slip of a finger could name another key. */
const LEAST_PREFIX = 6

/**
 * The key whose kid is `given` or begins with it.
 *
 * @throws {CommandFailure} exit 2 when that is too short or names several, 5 when there is none.
 */
export function keyNamed({ tenant, keys }: RingFacts, given: string): KeyFacts {
  const exact = keys.find(({ kid }) => kid === given)
  if (exact) return exact
  if (given.length < LEAST_PREFIX)
    throw new CommandFailure(EXIT.usage, `give at least ${LEAST_PREFIX} characters of the kid`)
  const [found, ...others] = keys.filter(({ kid }) => kid.startsWith(given))
  if (!found) throw new CommandFailure(EXIT.no, `tenant ${tenant} has no key of this kid`)
  if (others.length === 0) return found
  const all = [found, ...others].map(({ kid }) => kid).join(', ')
  throw new CommandFailure(EXIT.usage, `several keys begin like this; give more of it: ${all}`)
}

/** The shortest beginnings, of at least 8 characters, that tell these kids apart. */
export function shortKids(keys: readonly { readonly kid: string }[]): ReadonlyMap<string, string> {
  const kids = keys.map(({ kid }) => kid)
  const longest = Math.max(8, ...kids.map(({ length }) => length))
  let length = 8
  while (length < longest && new Set(kids.map((kid) => kid.slice(0, length))).size < kids.length)
    length += 1
  return new Map(kids.map((kid) => [kid, kid.slice(0, length)]))
}
