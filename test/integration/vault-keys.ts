import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, suite, test } from 'node:test'
import {
  asReplica,
  createFakeWrap,
  empty,
  newSecret,
  soon,
  storeOn,
  type VaultWorld,
} from './vault-world.ts'

/** What the contract of the store does not say: what is in KV, and what becomes of it. */
export function vaultKeys(world: VaultWorld): void {
  suite('a key in KV', () => {
    afterEach(() => empty(world.bao))

    test('destroying leaves no version, no metadata and nothing to undelete', async () => {
      await asReplica(world, async (client) => {
        const store = storeOn(client)
        await store.put('acme', 'k1', newSecret(), soon())
        await store.destroy('acme', 'k1', soon())
        await assert.rejects(world.bao.admin('GET', 'rolemint/metadata/keys/acme/k1'), /404/)
        await world.bao
          .admin('POST', 'rolemint/undelete/keys/acme/k1', { versions: [1] })
          .catch(() => undefined)
        assert.equal(await store.get('acme', 'k1', soon()), undefined)
      })
    })

    test('a version that somebody deleted or destroyed reads as undefined, and its kid is not used again', async () => {
      await asReplica(world, async (client) => {
        const store = storeOn(client)
        await store.put('acme', 'k1', newSecret(), soon())
        await world.bao.admin('DELETE', 'rolemint/data/keys/acme/k1')
        assert.equal(await store.get('acme', 'k1', soon()), undefined)
        await assert.rejects(store.put('acme', 'k1', newSecret(), soon()))
        await world.bao.admin('PUT', 'rolemint/destroy/keys/acme/k1', { versions: [1] })
        assert.equal(await store.get('acme', 'k1', soon()), undefined)
      })
    })

    for (const [name, wrap] of [
      ['bare', undefined],
      ['wrapped', createFakeWrap()],
    ] as const) {
      test(`a ${name} key that was copied to another kid, or changed, does not open`, async () => {
        await asReplica(world, async (client) => {
          const store = storeOn(client, wrap)
          await store.put('acme', 'k1', newSecret(), soon())
          const { data } = (await world.bao.admin('GET', 'rolemint/data/keys/acme/k1')) as {
            data: { data: Record<string, string> }
          }
          const kept = data.data
          const copies = {
            k2: kept,
            k3: { ...kept, pkcs8: '', sealed: '' },
            k4: { ...kept, kid: 'k4', pkcs8: '!', sealed: Buffer.alloc(60).toString('base64') },
            k5: {},
          }
          for (const [kid, value] of Object.entries(copies)) {
            await world.bao.admin('POST', `rolemint/data/keys/acme/${kid}`, { data: value })
            await assert.rejects(store.get('acme', kid, soon()), /could not be opened/, kid)
          }
        })
      })
    }

    test('a wrapped key is not in KV in the clear, and a store that wraps takes no bare one', async () => {
      await asReplica(world, async (client) => {
        await storeOn(client, createFakeWrap()).put('acme', 'k1', newSecret(), soon())
        const kept = JSON.stringify(await world.bao.admin('GET', 'rolemint/data/keys/acme/k1'))
        assert.equal(kept.includes(newSecret().reveal().toString('base64')), false)
        await storeOn(client).put('acme', 'k2', newSecret(), soon())
        await assert.rejects(storeOn(client, createFakeWrap()).get('acme', 'k2', soon()))
      })
    })

    test('a tenant or a kid that would climb out of the path is refused', async () => {
      await asReplica(world, async (client) => {
        const store = storeOn(client)
        for (const [tenant, kid] of [
          ['..', 'k1'],
          ['acme', '../../other'],
          ['acme/x', 'k1'],
          ['acme', '%2e%2e'],
          ['acme', ''],
        ] as const)
          await assert.rejects(store.get(tenant, kid, soon()), /must not have/)
      })
    })

    test('a put whose answer was lost on the way is tried again and finds its own key', async () => {
      const proxy = await startLossyProxy(world.bao.addr)
      try {
        await asReplica(
          world,
          async (client) => {
            const store = storeOn(client)
            await store.put('acme', 'k1', newSecret(), soon())
            assert.equal(proxy.lost, 1)
            assert.deepEqual(
              (await store.get('acme', 'k1', soon()))?.reveal(),
              newSecret().reveal(),
            )
            const again = store.put('acme', 'k1', newSecret(), soon())
            await assert.rejects(again, /kept already/)
          },
          { addr: proxy.addr },
        )
      } finally {
        proxy.close()
      }
    })
  })
}

/** Forwards requests, and loses the answer to the first write of a key. */
async function startLossyProxy(addr: string) {
  let lost = 0
  async function forward(request: IncomingMessage, response: ServerResponse, body: Buffer) {
    const answer = await fetch(`${addr}${request.url}`, {
      method: request.method ?? 'GET',
      headers: { 'x-vault-token': String(request.headers['x-vault-token'] ?? '') },
      ...(body.length > 0 && { body }),
    })
    const text = await answer.text()
    if (request.method === 'POST' && request.url?.includes('/data/') && lost === 0) {
      lost += 1
      response.destroy()
    } else response.writeHead(answer.status).end(text)
  }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      forward(request, response, Buffer.concat(chunks)).catch(() => response.destroy())
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    addr: `http://127.0.0.1:${port}`,
    get lost() {
      return lost
    },
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}
