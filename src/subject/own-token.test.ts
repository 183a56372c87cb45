import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSubjectWorld, type SubjectWorld } from '../../test/fakes/subject.ts'
import { isRefusal, Refusal, type RefusalCode } from '../lib/refusal.ts'
import { Secret } from '../lib/secret.ts'
import { type OwnTokens, verifyOwnToken } from './own-token.ts'

function refuses(outcome: Promise<unknown>, code: RefusalCode): Promise<void> {
  return assert.rejects(outcome, (error) => isRefusal(error, code))
}

/** Verifies as introspection does; `own` replaces what the room is told. */
function verify(
  { deps, tenant, limits }: SubjectWorld,
  text: string,
  own: Partial<OwnTokens> = {},
): Promise<unknown> {
  const told = { ...deps, own: { ...deps.own, ...own } }
  return verifyOwnToken(told, tenant, new Secret(text), limits, AbortSignal.timeout(30_000))
}

/** The cache keeps a token from its second sight on; after three it is there under any setting. */
async function remember(world: SubjectWorld, text: string): Promise<void> {
  for (let sight = 1; sight <= 3; sight += 1) await verify(world, text)
}

/** What the rules say when they were read too long ago. */
function tooOldToKnow(): never {
  throw new Refusal('ledger_unavailable', 'The list of cut-off tokens could not be read lately.')
}

test('a token signed by a killed key is refused, though the ledger holds it', async () => {
  const world = createSubjectWorld()
  const text = world.record(world.mintOwn())
  world.killKey()
  await refuses(verify(world, text), 'revoked')
})

test('a token signed by a killed key is refused, though it is cached as verified and recorded', async () => {
  const world = createSubjectWorld({ client: { exchangeOwn: true } })
  const text = world.record(world.mintOwn())
  await remember(world, text)
  let asked = 0
  const recorded = () => Promise.resolve((asked += 1) > 0)
  await verify(world, text, { recorded })
  assert.equal(asked, 0, 'it is answered from the cache')
  await world.subject(text)

  world.killKey()
  await refuses(verify(world, text), 'revoked')
  await refuses(world.subject(text), 'revoked')
})

test('a token whose killed key is not given out any more is told to be revoked, not to be forged', async () => {
  const world = createSubjectWorld()
  const text = world.record(world.mintOwn())
  world.killKey()
  await refuses(verify(world, text, { keyFor: () => undefined }), 'revoked')
})

test('a key killed while the ledger is asked is noticed before the answer', async () => {
  const world = createSubjectWorld()
  const text = world.record(world.mintOwn())
  const recorded = () => {
    world.killKey()
    return Promise.resolve(true)
  }
  await refuses(verify(world, text, { recorded }), 'revoked')
})

test('a key killed while the ring is read again is noticed before the answer', async () => {
  const world = createSubjectWorld()
  const text = world.record(world.mintOwn())
  await remember(world, text)
  const keyFor: OwnTokens['keyFor'] = async (...asked) => {
    const key = await world.deps.own.keyFor(...asked)
    world.killKey()
    return key
  }
  await refuses(verify(world, text, { keyFor }), 'revoked')
})

test('rules too old to know make a token neither good nor bad, cached as verified or not', async () => {
  const world = createSubjectWorld()
  const text = world.record(world.mintOwn())
  await refuses(verify(world, text, { cutOff: tooOldToKnow }), 'ledger_unavailable')
  await remember(world, text)
  await refuses(verify(world, text, { cutOff: tooOldToKnow }), 'ledger_unavailable')
})

test('killing one key of one tenant leaves the tokens of the others alone', async () => {
  const world = createSubjectWorld()
  const text = world.record(world.mintOwn())
  world.killKey('own-2')
  world.killKey(world.ownKey.kid, 'globex')
  await verify(world, text)
})
