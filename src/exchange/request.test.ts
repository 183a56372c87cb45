import assert from 'node:assert/strict'
import { test } from 'node:test'
import { someEvidence } from '../../test/fakes/policy.ts'
import { isRefusal } from '../lib/refusal.ts'
import { whileUsable } from './request.ts'

const NOW = 1_800_000_000
const clock = { now: () => NOW * 1000 }
const usable = (seconds: number) => ({
  evidence: someEvidence().subject,
  usableUntil: NOW + seconds,
  claims: [],
  kid: 'k',
  alg: 'ES256',
})
const request = () => new AbortController()

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

test('work for a token that lasts longer than any request costs no timer', () => {
  const { signal } = request()
  assert.equal(whileUsable(clock, signal, usable(3600), undefined), signal)
})

test('work for a token that is about to run out ends with it, and the refusal says why', async () => {
  const inTime = whileUsable(clock, request().signal, usable(0.02), undefined)
  assert.equal(inTime.aborted, false)
  await aborted(inTime)
  assert.ok(isRefusal(inTime.reason, 'expired'))
})

test('the first of subject and actor token to run out ends the work', async () => {
  const actor = {
    evidence: { idp: 'login', issuer: 'https://idp.example', sub: 'robot', delegated: false },
    usableUntil: NOW + 0.02,
    claims: [],
  }
  const inTime = whileUsable(clock, request().signal, usable(3600), actor)
  await aborted(inTime)
  assert.ok(isRefusal(inTime.reason, 'expired'))
})

test('the end of the request ends the work too', () => {
  const gone = request()
  const inTime = whileUsable(clock, gone.signal, usable(5), undefined)
  gone.abort(new Error('the client went away'))
  assert.equal(inTime.aborted, true)
  assert.equal(inTime.reason.message, 'the client went away')
})
