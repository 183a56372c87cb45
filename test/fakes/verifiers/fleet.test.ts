/** Each kind of verifier really refuses what it must, and really uses its cache: or a fleet of them would prove nothing. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { suiteNeeding } from '../../skip.ts'
import { jwksOf, mint, newTestKey, type TestKey } from '../jwt.ts'
import { fleetParts, KINDS } from './fleet.ts'
import type { Trusted, Verifier } from './verifier.ts'

const AUDIENCE = 'https://api.acme.example'
const OPTIONS = { maxAgeSeconds: 2, leewaySeconds: 1 }

/** Two issuers with changing key sets behind one server. */
async function startIssuers() {
  const sets: TestKey[][] = [[newTestKey('ES256', 'a-1')], [newTestKey('ES256', 'b-1')]]
  const server = createServer(({ url }, response) => {
    const keys = sets[Number(url?.slice(1))]
    response
      .writeHead(keys ? 200 : 404, {
        'content-type': 'application/jwk-set+json',
        'cache-control': `public, max-age=${OPTIONS.maxAgeSeconds}`,
      })
      .end(JSON.stringify(jwksOf(...(keys ?? []))))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const trusted = sets.map(
    (_, index): Trusted => ({
      issuer: `https://sts.acme.example/${index}`,
      jwksUri: `http://127.0.0.1:${port}/${index}`,
      audience: AUDIENCE,
    }),
  )
  return {
    trusted,
    /** The newest key of an issuer. */
    key: (index: number) => sets[index]?.at(-1) ?? newTestKey('ES256'),
    publish: (index: number, ...keys: TestKey[]) => void (sets[index] = keys),
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

function tokenOf(issuer: string, key: TestKey, claims: object = {}, header: object = {}): string {
  const now = Math.floor(Date.now() / 1000)
  const payload = { iss: issuer, sub: 'ada', aud: AUDIENCE, iat: now, nbf: now, exp: now + 600 }
  return mint({ key, header: { typ: 'at+jwt', ...header }, payload: { ...payload, ...claims } })
}

/** Waits for what comes about when a cache has run out. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000
  while (!(await holds())) {
    assert.ok(Date.now() < end, 'it did not come about within a minute')
    await setTimeout(200)
  }
}

suiteNeeding('verifiers', fleetParts, (parts) => {
  // Most of the time is waiting for caches to run out.
  describe('each', { concurrency: true }, () => {
    for (const [kind, start] of Object.entries(KINDS)) {
      describe(kind, { concurrency: false }, () => {
        let issuers: Awaited<ReturnType<typeof startIssuers>>
        let verifier: Verifier
        let a = ''
        let b = ''
        before(async () => {
          issuers = await startIssuers()
          verifier = await start(issuers.trusted, OPTIONS, parts)
          a = issuers.trusted[0]?.issuer ?? ''
          b = issuers.trusted[1]?.issuer ?? ''
        })
        after(async () => {
          await verifier.close()
          await issuers.close()
        })

        const mustRefuse = async (issuer: string, token: string) =>
          assert.notEqual(await verifier.verify(issuer, token), undefined)

        test(`${kind} accepts the tokens of each issuer it trusts`, async () => {
          assert.equal(await verifier.verify(a, tokenOf(a, issuers.key(0))), undefined)
          assert.equal(await verifier.verify(b, tokenOf(b, issuers.key(1))), undefined)
        })

        test(`${kind} refuses a token whose claims were changed after it was signed`, async () => {
          const good = tokenOf(a, issuers.key(0))
          const changed = tokenOf(a, issuers.key(0), { sub: 'mallory' })
          const [header, , signature] = good.split('.')
          await mustRefuse(a, [header, changed.split('.')[1], signature].join('.'))
          assert.equal(await verifier.verify(a, good), undefined)
        })

        test(`${kind} refuses an expired token, also one that it has accepted before`, async () => {
          const now = Math.floor(Date.now() / 1000)
          await mustRefuse(
            a,
            tokenOf(a, issuers.key(0), { iat: now - 700, nbf: now - 700, exp: now - 100 }),
          )
          // Long enough that it is accepted first on a busy machine.
          const short = tokenOf(a, issuers.key(0), { exp: now + 8 })
          assert.equal(await verifier.verify(a, short), undefined)
          await until(async () => (await verifier.verify(a, short)) !== undefined)
        })

        test(`${kind} refuses the token of one issuer as that of another`, async () => {
          await mustRefuse(a, tokenOf(b, issuers.key(1)))
          await mustRefuse(a, tokenOf(b, issuers.key(0)))
        })

        test(`${kind} refuses a token for another audience`, async () => {
          await mustRefuse(a, tokenOf(a, issuers.key(0), { aud: 'https://other.acme.example' }))
        })

        test(`${kind} refuses a token that a stranger signed under a kid of the issuer`, async () => {
          await mustRefuse(a, tokenOf(a, newTestKey('ES256', issuers.key(0).kid)))
          await mustRefuse(a, tokenOf(a, newTestKey('ES256', 'nobody-1')))
        })

        test(`${kind} refuses a token without signature`, async () => {
          const [, payload] = tokenOf(a, issuers.key(0)).split('.')
          const header = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')
          await mustRefuse(a, `${header}.${payload}.`)
        })

        test(`${kind} answers from its cache`, async () => {
          const earlier = verifier.fetches()
          const token = tokenOf(a, issuers.key(0))
          for (let round = 0; round < 100; round += 1)
            assert.equal(await verifier.verify(a, token), undefined)
          const fetches = verifier.fetches() - earlier
          assert.ok(fetches < 50, `${fetches} fetches for 100 verifications`)
          assert.ok(verifier.fetches() > 0)
        })

        test(`${kind} learns of a new key, and of one that is gone, when its copy is older than max-age`, async () => {
          const old = issuers.key(0)
          const next = newTestKey('ES256', 'a-2')
          issuers.publish(0, old, next)
          await until(async () => (await verifier.verify(a, tokenOf(a, next))) === undefined)
          assert.equal(await verifier.verify(a, tokenOf(a, old)), undefined)

          issuers.publish(0, next)
          await until(async () => (await verifier.verify(a, tokenOf(a, old))) !== undefined)
          assert.equal(await verifier.verify(a, tokenOf(a, next)), undefined)
        })
      })
    }
  })
})
