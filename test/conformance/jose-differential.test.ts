/** jose as the oracle: it accepts what we accept. The reverse is not true on purpose: it is more lenient about spelling. */
import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { CompactSign, compactVerify, importJWK, type JWK } from 'jose'
import { isRefusal } from '../../src/lib/refusal.ts'
import { parseCompactJws } from '../../src/subject/jws.ts'
import { admitKeys } from '../../src/subject/key-gate.ts'
import { ALGORITHM_NAMES, type AlgorithmName } from '../../src/subject/options.ts'
import { verifySignature } from '../../src/subject/signature.ts'
import { jwksOf, mint, newTestKey, type TestKey } from '../fakes/jwt.ts'

const LIMITS = { tokenBytes: 65_536 }
/** JSON without lone surrogates, which jose cannot be given as a JWT at all. */
const claims = fc.dictionary(
  fc.string({ unit: 'grapheme' }),
  fc.jsonValue({ maxDepth: 4, stringUnit: 'grapheme' }),
  {
    maxKeys: 8,
  },
)
const header = fc.record(
  { typ: fc.constantFrom('JWT', 'at+jwt'), kid: fc.stringMatching(/^[ -~]{1,40}$/) },
  { requiredKeys: [] },
)

/** The payload as we read it, or undefined where we refuse. */
function ours(token: string, key: TestKey): string | undefined {
  const [admitted] = admitKeys(jwksOf(key), [key.alg]).keys
  assert.ok(admitted)
  try {
    const parsed = parseCompactJws(token, LIMITS)
    if (parsed.alg !== key.alg) return undefined
    return verifySignature(admitted, parsed.signingInput, parsed.signature)
      ? JSON.stringify(parsed.payload)
      : undefined
  } catch (error) {
    assert.ok(isRefusal(error), String(error))
    return undefined
  }
}

async function joses(token: string, key: TestKey): Promise<string | undefined> {
  try {
    const { payload } = await compactVerify(token, createPublicKey(key.privateKey), {
      algorithms: [key.alg],
    })
    return JSON.stringify(JSON.parse(new TextDecoder().decode(payload)))
  } catch {
    return undefined
  }
}

suite('jose and rolemint', () => {
  // jose writes no `Ed25519` for KeyObjects of every version alike; EdDSA is the same signature.
  for (const alg of ALGORITHM_NAMES.filter((name): name is AlgorithmName => name !== 'Ed25519')) {
    test(`${alg}: what jose signs we read as the same claims, and the other way round`, async () => {
      const key = newTestKey(alg, 'k')
      await fc.assert(
        fc.asyncProperty(claims, header, async (payload, extra) => {
          const bytes = new TextEncoder().encode(JSON.stringify(payload))
          const theirs = await new CompactSign(bytes)
            .setProtectedHeader({ ...extra, alg })
            .sign(key.privateKey)
          const expected = JSON.stringify(JSON.parse(JSON.stringify(payload)))
          assert.equal(ours(theirs, key), expected)
          assert.equal(await joses(mint({ key, header: extra, payload }), key), expected)
        }),
        { numRuns: 40 },
      )
    })
  }

  test('a token with a few characters changed is accepted by us only if jose accepts it as the same', async () => {
    const key = newTestKey('ES256', 'k')
    let accepted = 0
    await fc.assert(
      fc.asyncProperty(
        claims,
        fc.array(fc.tuple(fc.nat(), fc.constantFrom(...'AQgw_-.= +/"\n'.split(''), '')), {
          maxLength: 2,
        }),
        async (payload, changes) => {
          let token = mint({ key, payload })
          for (const [at, character] of changes) {
            const place = at % token.length
            token = token.slice(0, place) + character + token.slice(place + 1)
          }
          const mine = ours(token, key)
          if (mine === undefined) return
          accepted++
          assert.equal(mine, await joses(token, key))
        },
      ),
      { numRuns: 500 },
    )
    assert.ok(accepted > 20, 'the property saw too few accepted tokens to mean anything')
  })

  test('every key the gate lets in is one that jose can import', async () => {
    for (const alg of ALGORITHM_NAMES) {
      const key = newTestKey(alg, 'k')
      assert.equal(admitKeys(jwksOf(key), [alg]).keys.length, 1)
      await importJWK(key.publicJwk as JWK, alg)
    }
  })
})
