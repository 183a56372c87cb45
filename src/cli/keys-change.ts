import type { AdminClient } from './admin-client.ts'
import { EXIT } from './exit-codes.ts'
import {
  asRing,
  type ConsumersFacts,
  type KeyFacts,
  keyNamed,
  type RingFacts,
  readConsumers,
  readRing,
} from './keys-facts.ts'
import type { Screen } from './keys-screen.ts'
import { minutes } from './keys-tables.ts'
import { printable } from './output.ts'
import { CommandFailure } from './terminal.ts'

/** What is to be done to which key, and why. */
export interface KeyChange {
  readonly tenant: string
  /** The kid, or what it begins with. */
  readonly kid: string
  readonly reason: string
}

/** What a kill left behind. */
export interface KillFacts extends RingFacts {
  readonly killed: string
  /** The key that signs in its place; null when none does. */
  readonly signs_now: string | null
  /** Verifiers that may still accept it, and until when; null when that could not be asked. */
  readonly exposed: readonly { readonly consumer: string; readonly until: string }[] | null
}

/** Asks the server for a change of one key; the ring after it. @throws {CommandFailure}. */
export async function changeKey(
  admin: AdminClient,
  action: 'promote' | 'retire' | 'kill',
  { tenant, kid, reason }: KeyChange,
): Promise<RingFacts> {
  const path = `/keys/${encodeURIComponent(kid)}/${action}`
  return asRing(await admin.call('POST', path, { tenant, reason }))
}

/**
 * Kills a key once somebody has said so, and tells what that means: who signs now, and which verifiers may go on accepting it.
 *
 * @throws {CommandFailure} exit 2 when nobody confirmed.
 */
export async function killKey(
  admin: AdminClient,
  change: KeyChange,
  confirmed: (key: KeyFacts) => Promise<void>,
): Promise<KillFacts> {
  const key = keyNamed(await readRing(admin, change.tenant), change.kid)
  await confirmed(key)
  const ring = await changeKey(admin, 'kill', { ...change, kid: key.kid })
  // The key is dead by now. That the rest cannot be told must not look as if it were not.
  const consumers = await readConsumers(admin, change.tenant).catch(() => undefined)
  return {
    ...ring,
    killed: key.kid,
    signs_now:
      ring.keys.find(({ alg, state }) => alg === key.alg && state === 'active')?.kid ?? null,
    exposed: consumers ? exposedTo(consumers, key.kid) : null,
  }
}

function exposedTo({ consumers }: ConsumersFacts, killed: string) {
  return consumers.flatMap(({ consumer, exposed }) =>
    exposed.flatMap(({ kid, until }) => (kid === killed ? [{ consumer, until }] : [])),
  )
}

/** Asks for the name of the tenant unless `--yes` was given: a kill has no way back. */
export function confirmation(tenant: string, yes: boolean, screen: Screen) {
  return async ({ kid, alg, state, signatures = 0 }: KeyFacts): Promise<void> => {
    if (yes) return
    if (!screen.ask)
      throw new CommandFailure(EXIT.usage, 'a kill cannot be undone: add --yes to go on')
    const typed = await screen.ask(
      printable(
        `Kill the ${state} ${alg} key ${kid} (${signatures} signatures)? Its tokens stop being accepted, and there is no way back. `,
      ) + `Type the name of the tenant (${tenant}) to go on: `,
    )
    if (typed.trim() !== tenant)
      throw new CommandFailure(EXIT.usage, 'not confirmed; nothing was done')
  }
}

/** The table that follows a kill. */
export function killRows({ killed, signs_now: signing, exposed }: KillFacts) {
  return [
    ['WHAT', 'VALUE'],
    ['killed', killed],
    ['signs now', signing ?? 'no key; a new one is being made and signs at once'],
    ['introspection', 'denies its tokens at every replica within a second or two'],
    ['JWKS', 'does not name it any more'],
    ...(exposed ?? []).map(({ consumer, until }) => [
      'may still accept it',
      `${consumer}, until ${minutes(until)}`,
    ]),
  ]
}

/** What a person must be told besides the table. */
export function killTalk({ exposed, signs_now: signing }: KillFacts): string {
  const lines =
    exposed === null
      ? ['which verifiers may still accept it could not be asked: rolemint keys consumers']
      : exposed.length > 0
        ? ['those verifiers keep old key sets: restart them, or make them introspect']
        : ['no configured consumer is known to hold it']
  lines.push(
    'verifiers that never name themselves are not counted: one that caches /jwks accepts it until it reads again',
  )
  if (signing === null) lines.push('exchanges are refused until the new key is published')
  return lines.map((line) => `${line}\n`).join('')
}
