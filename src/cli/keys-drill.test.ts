import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Secret } from '../lib/secret.ts'
import { EXIT } from './exit-codes.ts'
import { type DrillPlan, runDrill } from './keys-drill.ts'
import { CommandFailure } from './terminal.ts'

const OLD = 'old-kid'
const NEW = 'new-kid'

/** A token whose header names this key. */
const tokenBy = (kid: string) =>
  `${Buffer.from(JSON.stringify({ alg: 'ES256', kid })).toString('base64url')}.e30.AA`

/** Time that passes only when everybody waits. */
function virtualTime() {
  const sleepers: { readonly at: number; readonly wake: () => void }[] = []
  let now = 1000
  const end = new AbortController()
  const pause = (milliseconds: number) =>
    new Promise<void>((wake) => sleepers.push({ at: now + milliseconds, wake }))
  const ended = (async () => {
    while (!end.signal.aborted) {
      for (let turn = 0; turn < 5; turn += 1) await setImmediate()
      const next = sleepers.toSorted((a, b) => a.at - b.at)[0]
      if (!next) continue
      sleepers.splice(sleepers.indexOf(next), 1)
      now = next.at
      next.wake()
    }
  })()
  const stop = async () => {
    end.abort()
    await ended
  }
  return { now: () => now, pause, stop }
}

/** Whether a replica still has to do with the old key, by how long ago it was killed (milliseconds). */
type Behaviour = (sinceKill: number, sight: 'token' | 'jwks' | 'introspect') => boolean

const key = (kid: string, state: string) => ({
  kid,
  alg: 'ES256',
  state,
  created_at: '',
  reason: 'x',
})

async function drilled(
  replicas: Readonly<Record<string, Behaviour | 'down'>>,
  how: { readonly states?: readonly [string, string]; readonly timeout?: number } = {},
) {
  const [oldState = 'active', newState = 'published'] = how.states ?? []
  const time = virtualTime()
  let killedAt = Number.POSITIVE_INFINITY
  const kills: unknown[] = []
  const answer: typeof fetch = (input) => {
    const { origin, pathname } = new URL(input instanceof Request ? input.url : input)
    const behaviour = replicas[origin]
    if (behaviour === undefined || behaviour === 'down') return Promise.reject(new Error('refused'))
    const isOld = behaviour(time.now() - killedAt, pathname.slice(1) as 'token')
    const bodies: Record<string, object> = {
      '/token': { access_token: tokenBy(isOld ? OLD : NEW) },
      '/jwks': { keys: [{ kid: NEW }, ...(isOld ? [{ kid: OLD }] : [])] },
      '/introspect': { active: isOld },
    }
    return Promise.resolve(Response.json(bodies[pathname]))
  }
  const party = { client: 'c', secret: new Secret('s') }
  const plan: DrillPlan = {
    tenant: 'acme',
    reason: 'rehearsal',
    replicas: Object.keys(replicas),
    exchanger: party,
    resource: party,
    subjects: [new Secret(tokenBy('idp'))],
    audience: [],
    timeoutMilliseconds: how.timeout ?? 30_000,
    intervalMilliseconds: 100,
  }
  try {
    const report = await runDrill(
      {
        admin: {
          call(method, path, body) {
            if (method === 'POST') {
              killedAt = time.now()
              kills.push([path, body])
            }
            const keys =
              method === 'POST'
                ? [key(OLD, 'compromised'), key(NEW, 'active')]
                : [key(OLD, oldState), key(NEW, newState)]
            return Promise.resolve({ tenant: 'acme', version: 1, keys })
          },
        },
        fetch: answer,
        monotonic: time,
        pause: time.pause,
        say: () => undefined,
      },
      plan,
    )
    return { report, kills, failure: undefined }
  } catch (failure) {
    assert.ok(failure instanceof CommandFailure, String(failure))
    return { report: undefined, kills, failure }
  } finally {
    await time.stop()
  }
}

const A = 'http://10.0.0.1'
const B = 'http://10.0.0.2'

/** Changes over so many milliseconds after the kill. */
const after =
  (milliseconds: number): Behaviour =>
  (since) =>
    since < milliseconds

/** Introspection goes on as if nothing had happened. */
const stuck: Behaviour = (since, sight) => sight === 'introspect' || since < 0

const near = (seconds: number | null | undefined, expected: number) =>
  assert.ok(
    seconds !== null && seconds !== undefined && seconds >= expected && seconds <= expected + 0.2,
    `${seconds} is not just after ${expected}`,
  )

test('every interval is measured from the command, at each replica and at the slowest', async () => {
  const { report, kills } = await drilled({ [A]: after(300), [B]: after(1200) })
  assert.deepEqual(kills, [[`/keys/${OLD}/kill`, { tenant: 'acme', reason: 'rehearsal' }]])
  assert.equal(report?.complete, true)
  assert.deepEqual([report.killed, report.signs_now], [OLD, NEW])
  const [a, b] = report.replicas
  for (const name of ['jwks_clean', 'introspection_denies', 'first_good_token'] as const) {
    near(a?.[name], 0.3)
    near(b?.[name], 1.2)
  }
  near(report.jwks_clean, 1.2)
  near(report.introspection_denies, 1.2)
  near(report.first_good_token, 0.3)
  near(report.good_tokens_everywhere, 1.2)
  assert.ok(report.last_bad_signature !== null)
  assert.ok(report.last_bad_signature >= 1 && report.last_bad_signature <= 1.2)
})

test('a replica that changes over at once has no bad signature to show', async () => {
  const { report } = await drilled({ [A]: after(0) })
  assert.equal(report?.last_bad_signature, null)
  assert.equal(report?.complete, true)
})

test('a replica that steps back to the old key counts from the last time it did', async () => {
  const { report } = await drilled({ [A]: (since) => since < 200 || (since > 600 && since < 900) })
  near(report?.jwks_clean, 0.9)
  assert.ok((report?.last_bad_signature ?? 0) >= 0.7)
  near(report?.first_good_token, 0.2)
})

test('what never happens is null, and the report says that it is not complete', async () => {
  const { report } = await drilled({ [A]: after(100), [B]: stuck }, { timeout: 4000 })
  assert.equal(report?.complete, false)
  assert.equal(report?.introspection_denies, null)
  near(report?.jwks_clean, 0.1)
})

test('nothing is killed while a replica is not seen at work', async () => {
  const { failure, kills } = await drilled({ [A]: after(100), [B]: 'down' })
  assert.equal(failure?.exit, EXIT.unreachable)
  assert.match(failure?.message ?? '', /10\.0\.0\.2.*nothing was killed/)
  assert.deepEqual(kills, [])
})

test('nothing is killed while no successor is ready, or when the admin address is of another deployment', async () => {
  for (const states of [
    ['active', 'staged'],
    ['verify-only', 'published'],
  ] as const) {
    const { failure, kills } = await drilled({ [A]: after(100) }, { states })
    assert.equal(failure?.exit, EXIT.conflict)
    assert.deepEqual(kills, [])
  }
})
