import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { isRefusal, type RefusalCode } from '../../src/lib/refusal.ts'
import { parseCompactJws, parseJwsEnvelope } from '../../src/subject/jws.ts'
import { admitKeys } from '../../src/subject/key-gate.ts'
import { ALGORITHM_NAMES } from '../../src/subject/options.ts'
import { createPublicKeys } from '../../src/subject/public-keys.ts'
import { verifySignature } from '../../src/subject/signature.ts'
import { createFakeJsonDocuments } from '../fakes/json-documents.ts'
import { type Part, suiteNeeding } from '../skip.ts'

interface SignatureVector {
  readonly tcId: number
  readonly comment: string
  readonly jws: string | object
  readonly result: 'valid' | 'invalid'
}

interface SignatureGroup {
  readonly comment: string
  readonly public?: object
  readonly private: object
  readonly tests: readonly SignatureVector[]
}

/** Vectors that say what is not so. Anything else that disagrees with us is our fault. */
const VECTOR_FAULTS: ReadonlyMap<number, string> = new Map([
  [346, 'said to be valid, but its key has alg PS256 and its header PS384 (RFC 7517 §4.4)'],
  [347, 'said to be valid, but its key has alg ES521, which no specification defines'],
  [350, 'said to be valid, but its key has alg PS256 and its header PS384 (RFC 7517 §4.4)'],
  [351, 'said to be valid, but its key has alg ES521, which no specification defines'],
  [367, 'said to be invalid, but byte for byte the same as 357, said to be valid'],
  [370, 'said to be invalid, but byte for byte the same as 357, said to be valid'],
  [372, 'said to be valid, but its header has a ? in base64url (RFC 7515 §5.2)'],
  [373, 'said to be valid, but its payload has a ? in base64url (RFC 7515 §5.2)'],
])

/** Refused by the parser for their spelling, whatever algorithm they name; bare jose 6.2 accepts all four. */
const SPELLING = [360, 365, 368, 375]

const FILES = ['json_web_signature_test.json', 'json_web_encryption_test.json'] as const

const wycheproof: Part<Readonly<Record<(typeof FILES)[number], { testGroups: unknown }>>> = {
  name: 'the Wycheproof vectors in ../shared/vectors/wycheproof',
  mend: 'Put the testvectors_v1 files of C2SP/wycheproof there.',
  find() {
    const folder = join(import.meta.dirname, '../../../shared/vectors/wycheproof')
    try {
      const [jws, jwe] = FILES.map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')))
      return { found: { [FILES[0]]: jws, [FILES[1]]: jwe } }
    } catch (error) {
      return { missing: error instanceof Error ? error.message : String(error) }
    }
  },
}

/** Verifies as a subject token is verified, payload apart: it is `foo` in most vectors. The code of the refusal, or undefined. */
async function refusalOf(group: SignatureGroup, jws: string): Promise<RefusalCode | undefined> {
  const publicKeys = createPublicKeys({
    documents: createFakeJsonDocuments(),
    clock: { now: () => 0 },
  })
  // A group without a public half has a symmetric key; handing us that is the best an attacker could hope for.
  const jwks = { keys: [group.public ?? group.private] }
  try {
    const envelope = parseJwsEnvelope(jws, { tokenBytes: 16_384 })
    const key = await publicKeys.keyFor(
      { kind: 'inline', jwks },
      ALGORITHM_NAMES,
      envelope,
      AbortSignal.timeout(5000),
    )
    return verifySignature(key, envelope.signingInput, envelope.signature)
      ? undefined
      : 'invalid_signature'
  } catch (error) {
    if (isRefusal(error)) return error.code
    throw error
  }
}

suiteNeeding('Wycheproof', wycheproof, (files) => {
  const groups = files['json_web_signature_test.json'].testGroups as readonly SignatureGroup[]
  const vectors = groups.flatMap((group) => group.tests.map((vector) => ({ group, vector })))
  const isSymmetric = (group: SignatureGroup): boolean => group.public === undefined

  test('the file holds the 401 vectors that this suite was written for', () => {
    assert.equal(vectors.length, 401)
    assert.equal(vectors.filter(({ vector }) => vector.result === 'invalid').length, 355)
    assert.equal(vectors.filter(({ vector }) => VECTOR_FAULTS.has(vector.tcId)).length, 8)
  })

  test('all 353 truly invalid signature vectors are refused', async () => {
    let refused = 0
    for (const { group, vector } of vectors) {
      if (vector.result !== 'invalid' || VECTOR_FAULTS.has(vector.tcId)) continue
      const jws = typeof vector.jws === 'string' ? vector.jws : JSON.stringify(vector.jws)
      assert.notEqual(await refusalOf(group, jws), undefined, `${vector.tcId} ${vector.comment}`)
      refused++
    }
    assert.equal(refused, 353)
  })

  test('every valid vector of an asymmetric algorithm is accepted', async () => {
    let accepted = 0
    for (const { group, vector } of vectors) {
      if (vector.result !== 'valid' || isSymmetric(group) || VECTOR_FAULTS.has(vector.tcId))
        continue
      assert.equal(await refusalOf(group, vector.jws as string), undefined, `${vector.tcId}`)
      accepted++
    }
    assert.equal(accepted, 32)
  })

  test('a valid vector of HS256 is refused by its algorithm, although its key was handed to us', async () => {
    let refused = 0
    for (const { group, vector } of vectors) {
      if (vector.result !== 'valid' || !isSymmetric(group) || VECTOR_FAULTS.has(vector.tcId))
        continue
      assert.equal(await refusalOf(group, vector.jws as string), 'algorithm_not_allowed')
      refused++
    }
    assert.equal(refused, 8)
  })

  test('whitespace and non-canonical base64url are refused as such, before the algorithm is looked at', async () => {
    for (const { group, vector } of vectors) {
      if (!SPELLING.includes(vector.tcId)) continue
      assert.equal(
        await refusalOf(group, vector.jws as string),
        'malformed_token',
        `${vector.tcId}`,
      )
    }
  })

  suite('vector faults', () => {
    for (const [tcId, reason] of VECTOR_FAULTS) {
      test(`${tcId} is refused: ${reason}`, async () => {
        const found = vectors.find(({ vector }) => vector.tcId === tcId)
        assert.ok(found)
        assert.notEqual(await refusalOf(found.group, found.vector.jws as string), undefined)
      })
    }

    test('367 and 370 really are the text of 357, so no verifier can tell them apart', () => {
      const texts = [357, 367, 370].map(
        (tcId) => vectors.find(({ vector }) => vector.tcId === tcId)?.vector.jws,
      )
      assert.equal(new Set(texts).size, 1)
    })
  })

  test('keys that are for encryption are kept out by the key gate', () => {
    for (const group of groups) {
      if (!/encryption/.test(group.comment)) continue
      const { keys, rejections } = admitKeys({ keys: [group.public] }, ALGORITHM_NAMES)
      assert.equal(keys.length, 0)
      assert.match(rejections[0]?.reason ?? '', /^use is not sig$|^key_ops does not hold verify$/)
    }
  })

  test('all 139 encryption vectors are refused unparsed: by the number of their parts', () => {
    const jweGroups = files['json_web_encryption_test.json'].testGroups as readonly {
      tests: readonly { tcId: number; jwe: string }[]
    }[]
    const jwes = jweGroups.flatMap((group) => group.tests)
    assert.equal(jwes.length, 139)
    for (const { tcId, jwe } of jwes) {
      assert.throws(
        () => parseCompactJws(jwe, { tokenBytes: 65_536 }),
        (error) =>
          isRefusal(error, 'malformed_token') && /too (many|few) parts/.test(error.message),
        `${tcId}`,
      )
    }
  })
})
