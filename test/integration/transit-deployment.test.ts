/** A whole deployment whose keys never leave Vault: Transit of a real OpenBao signs every token. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { type OpenBao, openbao, startOpenBao } from '../fakes/openbao.ts'
import { API, ask, EXCHANGE, ISSUER, JWT_TYPE, type Sts, startSts } from '../fakes/sts.ts'
import { suiteNeeding } from '../skip.ts'

const OTHER = 'https://other.acme.example'
const RECOVERY_MILLISECONDS = 60_000

async function withTransit(use: (sts: Sts, bao: OpenBao) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-transit-'))
  const bao = await startOpenBao()
  try {
    const secretIdFile = join(folder, 'secret-id')
    writeFileSync(secretIdFile, await bao.newSecretId(), { mode: 0o600 })
    const auth = { appRole: { roleId: bao.roleId, secretIdFile } }
    const sts = await startSts({
      configure: (tree) => {
        tree['keys'] = {
          signer: { vaultTransit: { addr: bao.addr, auth, mount: 'transit', prefix: 'rolemint' } },
          perTarget: { [OTHER]: 'EdDSA' },
        }
      },
    })
    await use(sts, bao).finally(() => sts.close())
  } finally {
    await bao.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

const form = (sts: Sts, audience = API) => ({
  grant_type: EXCHANGE,
  subject_token_type: JWT_TYPE,
  subject_token: sts.subjectToken(),
  audience,
})

async function verified(sts: Sts, token: string, audience: string): Promise<void> {
  // Fetched anew for each token: what it must verify with is what the server publishes now.
  const keys = createRemoteJWKSet(new URL(`${sts.url}/jwks`))
  await jwtVerify(token, keys, { issuer: ISSUER, audience })
}

suiteNeeding('a deployment that signs by Transit', openbao, () => {
  test('issues tokens that verify, rotates, and kills', async () => {
    await withTransit(async (sts) => {
      for (const audience of [API, OTHER])
        await verified(sts, await sts.exchange({ audience }), audience)
      const before = await sts.exchange()
      const rotated = await sts.admin('POST', '/keys/rotate', { tenant: 'acme', reason: 'test' })
      assert.equal(rotated.status, 200, rotated.text)
      await verified(sts, before, API)
      await verified(sts, await sts.exchange(), API)
      const [header = ''] = before.split('.')
      const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString()) as { kid: string }
      const body = { tenant: 'acme', reason: 'stolen' }
      assert.equal((await sts.admin('POST', `/keys/${kid}/kill`, body)).status, 200)
      assert.equal((await sts.introspect(before)).body['active'], false)
      assert.equal((await sts.introspect(await sts.exchange())).body['active'], true)
    })
  })

  test('answers 503 with Retry-After while Vault is down, serves what needs no signature, and recovers by itself', async () => {
    await withTransit(async (sts, bao) => {
      const token = await sts.exchange()
      await bao.kill()
      for (let round = 0; round < 8; round += 1) {
        const answer = await sts.token(form(sts))
        assert.equal(answer.status, 503, answer.text)
        assert.equal(answer.body['error_code'], 'signer_unavailable')
        assert.ok(Number(answer.headers.get('retry-after')) >= 1)
        assert.equal(answer.body['access_token'], undefined)
      }
      assert.equal((await ask(`${sts.url}/jwks`)).status, 200)
      assert.equal((await sts.introspect(token)).body['active'], true)
      await bao.restart()
      const deadline = Date.now() + RECOVERY_MILLISECONDS
      while ((await sts.token(form(sts))).status !== 200) {
        assert.ok(Date.now() < deadline, 'signing came back')
        await setTimeout(250)
      }
    })
  })
})
