/** What it costs that Transit signs instead of this process: ES256, by the real signers, with a real OpenBao on this machine. */

import { generateKeyPair } from '../src/adapters/node-crypto/key-pair.ts'
import { createLocalSigner } from '../src/adapters/node-crypto/local-signer.ts'
import { createVaultClient } from '../src/adapters/vault/client.ts'
import { createTransitSigner } from '../src/adapters/vault/transit-signer.ts'
import type { Signer, SignerKey } from '../src/keys/signer.ts'
import { createSystemRandom } from '../src/lib/id.ts'
import { Secret } from '../src/lib/secret.ts'
import { type OpenBao, openbao, startOpenBao } from '../test/fakes/openbao.ts'
import type { Row } from './rows.ts'
import { median } from './spread.ts'

/** Wall time of one signature: alone, and as one of 64 that were asked for at the same moment. */
interface TransitCost {
  readonly localMicros: number
  readonly aloneMicros: number
  readonly batchedMicros: number
}

const KEY: SignerKey = { tenant: 'bench', kid: 'bench', alg: 'ES256' }
/** The header and payload of a token with a handful of roles. */
const SIGNING_INPUT = `${'h'.repeat(90)}.${'p'.repeat(700)}`
const BATCH = 64
const PASSES = 7
const TIMEOUT_MILLISECONDS = 30_000

/** @returns what was measured, or why nothing could be. */
export async function measureTransit(
  passMilliseconds: number,
): Promise<TransitCost | { readonly missing: string }> {
  const look = openbao.find()
  if ('missing' in look) return { missing: `needs ${openbao.name}: ${look.missing}` }
  try {
    const bao = await startOpenBao()
    try {
      return await compare(bao, passMilliseconds)
    } finally {
      await bao.close()
    }
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) }
  }
}

async function compare(bao: OpenBao, passMilliseconds: number): Promise<TransitCost> {
  const random = createSystemRandom()
  const secretId = new Secret(await bao.newSecretId())
  const auth = {
    kind: 'appRole',
    mount: 'approle',
    roleId: bao.roleId,
    secretId: () => Promise.resolve(secretId),
  } as const
  const place = { addr: bao.addr, auth, timeoutMilliseconds: TIMEOUT_MILLISECONDS }
  const client = createVaultClient({ random }, place)
  try {
    const transit = createTransitSigner(
      { client, random },
      { mount: 'transit', prefix: 'rolemint', timeoutMilliseconds: TIMEOUT_MILLISECONDS },
    )
    const signal = AbortSignal.timeout(TIMEOUT_MILLISECONDS)
    transit.bind(KEY, (await transit.create(KEY.tenant, KEY.alg, signal)).handle)
    const local = createLocalSigner()
    local.load(KEY, (await generateKeyPair(KEY.alg)).pkcs8)

    // In turns, so that a bad moment of the machine hits all of them; the first pass warms up.
    const passes: TransitCost[] = []
    for (let pass = 0; pass <= PASSES; pass += 1)
      passes.push({
        localMicros: await microsEach(local, 1, passMilliseconds),
        aloneMicros: await microsEach(transit, 1, passMilliseconds),
        batchedMicros: await microsEach(transit, BATCH, passMilliseconds),
      })
    const counted = passes.slice(1)
    return {
      localMicros: median(counted.map(({ localMicros }) => localMicros)),
      aloneMicros: median(counted.map(({ aloneMicros }) => aloneMicros)),
      batchedMicros: median(counted.map(({ batchedMicros }) => batchedMicros)),
    }
  } finally {
    await client.close()
  }
}

async function microsEach(signer: Signer, atOnce: number, milliseconds: number): Promise<number> {
  const start = performance.now()
  let signed = 0
  while (performance.now() - start < milliseconds) {
    await Promise.all(Array.from({ length: atOnce }, async () => signer.sign(KEY, SIGNING_INPUT)))
    signed += atOnce
  }
  return ((performance.now() - start) * 1000) / signed
}

/** Informs, without a target: whoever chooses Transit pays it for keys that never leave Vault. */
export function transitRows(measured: Awaited<ReturnType<typeof measureTransit>>): readonly Row[] {
  const row = (id: string, what: string, pick: (cost: TransitCost) => number): Row => {
    if ('missing' in measured)
      return { id, what, figure: undefined, unit: '×', ok: true, detail: measured.missing }
    const micros = pick(measured)
    return {
      id,
      what,
      figure: micros / measured.localMicros,
      unit: '×',
      ok: true,
      detail: `${micros.toFixed(0)} µs against ${measured.localMicros.toFixed(0)} µs (wall time, ES256)`,
    }
  }
  return [
    row(
      'transit-alone',
      'signature by Transit against one in this process',
      (cost) => cost.aloneMicros,
    ),
    row('transit-batch', `the same, ${BATCH} asked for at once`, (cost) => cost.batchedMicros),
  ]
}
