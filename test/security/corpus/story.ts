/** What the stories share: exchanges that have to be accepted or refused. */
import assert from 'node:assert/strict'
import type { RefusalCode } from '../../../src/lib/refusal.ts'
import { JWT_TYPE } from '../../fakes/sts.ts'
import { goodForm, mustBeRecorded, mustRefuse, watchful } from './doors.ts'
import { parts } from './forge.ts'
import type { CorpusWorld } from './world.ts'

/** A story of one row; it says itself what has to come of it. */
export interface Scenario {
  readonly row: number
  readonly name: string
  readonly run: (world: CorpusWorld) => Promise<void>
}

/** The claims of a token. */
export function claimsOf(token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(parts(token)[1], 'base64url').toString()) as Record<string, unknown>
}

export const seconds = (world: CorpusWorld): number => Math.floor(world.clock.time / 1000)

/** Exchanges a token that has to be accepted, for the token in the answer. */
export async function exchanged(
  world: CorpusWorld,
  token: string,
  form: Readonly<Record<string, string>> = {},
): Promise<string> {
  const answer = await world.sts.token({ ...goodForm(world), subject_token: token, ...form })
  assert.equal(answer.status, 200, answer.text)
  return String(answer.body['access_token'])
}

/** Exchanges a token that has to be refused with this code. */
export async function refused(
  world: CorpusWorld,
  token: string,
  code: RefusalCode,
  {
    outbound = 0,
    ...form
  }: { readonly outbound?: number } & Readonly<Record<string, string | number>> = {},
): Promise<void> {
  const watch = watchful(world)
  const more = Object.fromEntries(
    Object.entries(form).map(([name, value]) => [name, String(value)]),
  )
  const answer = await world.sts.token({ ...goodForm(world), subject_token: token, ...more })
  mustRefuse(answer, code)
  await watch(answer, [token], outbound)
  await mustBeRecorded(world, answer, code)
}

/** A signed token with one claim changed and the signature left as it was. */
export function tampered(token: string, change: Readonly<Record<string, unknown>>): string {
  const [header, , signature] = parts(token)
  const payload = JSON.stringify({ ...claimsOf(token), ...change })
  return `${header}.${Buffer.from(payload).toString('base64url')}.${signature}`
}

export const ACTOR_TYPE = { actor_token_type: JWT_TYPE } as const
