import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SignerKey } from '../../keys/signer.ts'
import { createSystemRandom } from '../../lib/id.ts'
import { isRefusal, type Refusal } from '../../lib/refusal.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import { BreakerOpen } from '../../resilience/breaker.ts'
import { DeadlineExceeded } from '../../resilience/deadline.ts'
import { createTransitSigner } from './transit-signer.ts'
import { VaultError } from './vault-error.ts'

// What no real Transit can be made to do: wrong, late and refusing answers. Everything else is in test/integration/transit.test.ts.

const KEY: SignerKey = { tenant: 'acme', kid: 'k1', alg: 'ES256' }
const HANDLE = `rolemint-acme-${'0'.repeat(32)}`
/** 64 bytes that tell which input they are for. */
const signatureOf = (input: string) => Buffer.alloc(64, input)
const resultFor = (input: string) => ({
  signature: `vault:v1:${signatureOf(input).toString('base64url')}`,
})

type Answer = (inputs: readonly string[]) => unknown

/** A signer before a Transit that answers with these results; `sizes` has the size of every batch. */
function createWorld(answer: Answer, timeoutMilliseconds = 30_000) {
  const sizes: number[] = []
  const client = {
    async write(_path: string, body: object) {
      const { batch_input: batch } = body as { batch_input: readonly { input: string }[] }
      sizes.push(batch.length)
      const inputs = batch.map(({ input }) => Buffer.from(input, 'base64').toString())
      return { batch_results: await answer(inputs) }
    },
    read: () => Promise.reject(new Error('not read here')),
    remove: () => Promise.reject(new Error('not removed here')),
  }
  const options = { mount: 'transit', prefix: 'rolemint', timeoutMilliseconds }
  const signer = createTransitSigner({ client, random: createSystemRandom() }, options)
  signer.bind(KEY, HANDLE)
  const sign = async (input: string) => signer.sign(KEY, input)
  return { signer, sign, sizes }
}

async function refusalOf(work: Promise<unknown>): Promise<Refusal> {
  const error = await work.then(
    () => assert.fail('it signed'),
    (reason: unknown) => reason,
  )
  assert.ok(isRefusal(error, 'signer_unavailable'))
  return error
}

const down = () => Promise.reject(new DependencyUnavailable('down'))
const forbidden = () => Promise.reject(new VaultError('POST', 'transit/sign/x', 403, []))

test('signatures asked for at the same moment go out in batches of at most 64 and come back to who asked', async () => {
  const { sign, sizes } = createWorld((inputs) => inputs.map(resultFor))
  const inputs = Array.from({ length: 130 }, (_, index) => `input ${index}`)
  const signatures = await Promise.all(inputs.map(sign))
  assert.deepEqual(signatures, inputs.map(signatureOf))
  assert.deepEqual(sizes, [64, 64, 2])
  await sign('alone')
  assert.deepEqual(sizes, [64, 64, 2, 1])
})

test('an input that Transit refuses fails alone', async () => {
  const { sign } = createWorld((inputs) =>
    inputs.map((input) =>
      input === 'bad' ? { ...resultFor('bad'), error: 'no' } : resultFor(input),
    ),
  )
  const [before, bad, behind] = await Promise.allSettled(['before', 'bad', 'behind'].map(sign))
  assert.deepEqual(before, { status: 'fulfilled', value: signatureOf('before') })
  assert.deepEqual(behind, { status: 'fulfilled', value: signatureOf('behind') })
  assert.ok(bad?.status === 'rejected' && isRefusal(bad.reason, 'signer_unavailable'))
})

test('a batch with an answer too few or too many is refused as a whole: results have no name but their place', async () => {
  const wrong: readonly Answer[] = [
    (inputs) => inputs.slice(1).map(resultFor),
    (inputs) => [...inputs, 'more'].map(resultFor),
    () => undefined,
    () => ({ 0: resultFor('a'), 1: resultFor('b'), length: 2 }),
  ]
  for (const answer of wrong) {
    const { sign } = createWorld(answer)
    const outcomes = await Promise.allSettled([sign('a'), sign('b')])
    assert.ok(outcomes.every(({ status }) => status === 'rejected'))
  }
})

test('what is no signature by version 1 of the key in canonical base64url of the right length does not leave the house', async () => {
  const good = resultFor('a').signature
  const wrong: readonly unknown[] = [
    good.replace('v1', 'v2'),
    good.replace('v1', 'v01'),
    good.replace('vault:', ''),
    `${good}=`,
    `${good}AAAA`,
    good.slice(0, -2),
    `${good.slice(0, -1)}${good.endsWith('Q') ? 'R' : 'h'}`, // bits that nobody looks at
    good.replace(/[A-Z]/, '+'),
    `${good}\n`,
    '',
    7,
    undefined,
  ]
  for (const signature of wrong) {
    const { sign } = createWorld(() => [{ signature }])
    await refusalOf(sign('a'))
  }
  for (const result of [null, 'text', []]) {
    const { sign } = createWorld(() => [result])
    await refusalOf(sign('a'))
  }
})

test('a Transit that never answers is given up at the time limit, as a refusal to be tried again', async () => {
  const { sign } = createWorld(() => new Promise(() => undefined), 20)
  const { cause, retryAfterSeconds } = await refusalOf(sign('a'))
  assert.ok(cause instanceof DeadlineExceeded)
  assert.equal(retryAfterSeconds, 1)
})

test('five batches without an answer open the breaker: then nothing is asked, and the refusal says until when', async () => {
  const { sign, sizes } = createWorld(down)
  for (let time = 0; time < 5; time += 1) {
    const { cause } = await refusalOf(sign('a'))
    assert.ok(cause instanceof DependencyUnavailable)
  }
  const { cause, retryAfterSeconds = 0 } = await refusalOf(sign('a'))
  assert.ok(cause instanceof BreakerOpen)
  assert.ok(retryAfterSeconds >= 1 && retryAfterSeconds <= 5)
  assert.equal(sizes.length, 5)
})

test('a tenant whose key was deleted in Vault does not open the breaker for all others', async () => {
  const { sign, sizes } = createWorld((inputs) =>
    inputs.includes('forbidden') ? forbidden() : inputs.map(resultFor),
  )
  for (let time = 0; time < 10; time += 1) {
    const { cause } = await refusalOf(sign('forbidden'))
    assert.ok(cause instanceof VaultError)
  }
  assert.deepEqual(await sign('good'), signatureOf('good'))
  assert.equal(sizes.length, 11)
})

test('of a flood while Transit is slow, what is beyond the bound is refused at once and the rest is signed', async () => {
  const slow = Promise.withResolvers<void>()
  const { sign, sizes } = createWorld(async (inputs) => {
    await slow.promise
    return inputs.map(resultFor)
  })
  const flood = Array.from({ length: 600 }, (_, index) => sign(`${index}`))
  for (const beyond of flood.slice(512)) await refusalOf(beyond)
  slow.resolve()
  assert.equal((await Promise.all(flood.slice(0, 512))).length, 512)
  assert.deepEqual(sizes, Array(8).fill(64))
  await sign('afterwards')
})

test('a batch of RSA is small: its signatures are slow, and the first would wait for the last', async () => {
  const { signer, sizes } = createWorld((inputs) =>
    inputs.map(() => ({ signature: `vault:v1:${Buffer.alloc(384).toString('base64url')}` })),
  )
  const key = { tenant: 'acme', kid: 'rsa', alg: 'RS256' } as const
  signer.bind(key, HANDLE)
  await Promise.all(Array.from({ length: 40 }, async () => signer.sign(key, 'a')))
  assert.deepEqual(sizes, [16, 16, 8])
})

test('a handle that the signer cannot have given out is not bound', () => {
  const { signer } = createWorld(() => [])
  const foreign = [
    'rolemint-kek',
    'other',
    '',
    `other-acme-${'0'.repeat(32)}`,
    `rolemint-${'0'.repeat(32)}`,
    `${HANDLE}/../kek`,
    `${HANDLE}\n`,
    HANDLE.toUpperCase(),
  ]
  for (const handle of foreign) assert.throws(() => signer.bind(KEY, handle), /no name of a key/)
})
