/** What a server does that starts while its key store is in trouble: {down, sealed, slow, 403, old version} with each state of the boot cache. */
import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { compose, type Deployment } from '../../src/compose.ts'
import { openStores } from '../../src/compose-stores.ts'
import { loadConfig } from '../../src/config/load.ts'
import { createLog } from '../../src/observe/log.ts'
import { type OnDisk, writeDeployment } from '../chaos/deployment.ts'
import { vaultStore } from '../chaos/key-store-faults.ts'
import { type FaultProxy, startFaultProxy } from '../fakes/fault-proxy.ts'
import { type OpenBao, openbao, startOpenBao } from '../fakes/openbao.ts'
import { at } from '../fakes/sts.ts'
import { suiteNeeding } from '../skip.ts'

const DAY = 86_400_000
const CACHES = ['none', 'good', 'tampered', 'expired'] as const
type CacheState = (typeof CACHES)[number]

interface World {
  readonly bao: OpenBao
  readonly proxy: FaultProxy
  readonly disk: OnDisk
  readonly env: Record<string, string>
  readonly cacheFile: string
  /** The boot cache as the first start left it. */
  readonly good: Buffer
}

async function prepareWorld(): Promise<World> {
  const bao = await startOpenBao()
  const proxy = await startFaultProxy(bao.addr)
  const { config, secretId } = await vaultStore(bao, proxy.url)
  const disk = await writeDeployment((tree) => {
    const keys = at(tree, 'keys')
    keys['store'] = config
    keys['cache'] = { file: './keys.cache', kek: '${file:./kek}', maxAge: '72h' }
  })
  const world = { bao, proxy, disk, env: { SECRET_ID: String(secretId) } }
  const cacheFile = join(disk.folder, 'keys.cache')
  const first = await start({ ...world, cacheFile, good: Buffer.alloc(0) })
  await first.close()
  return { ...world, cacheFile, good: readFileSync(cacheFile) }
}

function start({ disk, env }: World, ahead = 0): Promise<Deployment> {
  const { config } = loadConfig({ path: disk.configFile, env })
  const log = createLog({ write: () => true }, 'silent')
  return compose(config, { log, clock: { now: () => Date.now() + ahead } })
}

function setCache({ cacheFile, good }: World, state: CacheState): void {
  rmSync(cacheFile, { force: true })
  if (state === 'none') return
  const bytes = Buffer.from(good)
  // Inside a sealed value, so that the file still parses: what an attacker would change who wants a key of his own used.
  const place = bytes.length - 40
  if (state === 'tampered') bytes.writeUInt8(bytes[place] === 0x41 ? 0x42 : 0x41, place)
  writeFileSync(cacheFile, bytes, { mode: 0o600 })
}

/** What the ring says, whatever the key store does: no start may have put a key of its own making into it. */
async function ringOf({ disk, env }: World): Promise<string> {
  const { config } = loadConfig({ path: disk.configFile, env })
  const stores = await openStores(config)
  const ring = await stores.rings.load('acme', AbortSignal.timeout(10_000))
  await stores.close()
  return JSON.stringify(ring)
}

/** The paths of all private halves, and what is in them. */
async function savedKeys({ bao, disk, env }: World) {
  const ring = JSON.parse(await ringOf({ bao, disk, env } as World)) as { keys: { kid: string }[] }
  return Promise.all(
    ring.keys.map(async ({ kid }) => {
      const { data } = (await bao.admin('GET', `rolemint/data/keys/acme/${kid}`)) as {
        data: { data: object }
      }
      return { kid, value: data.data }
    }),
  )
}

interface Trouble {
  readonly name: string
  /** States of the cache with which the server starts all the same. */
  readonly starts: readonly CacheState[]
  begin(world: World): Promise<unknown> | void
  end(world: World): Promise<unknown> | void
}

function troubles(): readonly Trouble[] {
  let saved: Awaited<ReturnType<typeof savedKeys>> = []
  return [
    {
      name: 'down',
      starts: ['good'],
      begin: ({ bao }) => bao.kill(),
      end: ({ bao }) => bao.restart(),
    },
    {
      name: 'sealed',
      starts: ['good'],
      begin: ({ bao }) => bao.seal(),
      end: ({ bao }) => bao.unseal(),
    },
    {
      name: 'slow',
      starts: ['good'],
      begin: ({ proxy }) => proxy.set('hang'),
      end: ({ proxy }) => proxy.set('none'),
    },
    // A right that was withdrawn must not be got round by a copy.
    {
      name: '403',
      starts: [],
      begin: ({ proxy }) => proxy.set(403),
      end: ({ proxy }) => proxy.set('none'),
    },
    // Restored from a backup older than the keys: it answers that there is no such key, and it may be right.
    {
      name: 'of an old version',
      starts: [],
      async begin(world) {
        saved = await savedKeys(world)
        for (const { kid } of saved)
          await world.bao.admin('DELETE', `rolemint/metadata/keys/acme/${kid}`)
      },
      async end({ bao }) {
        for (const { kid, value } of saved)
          await bao.admin('POST', `rolemint/data/keys/acme/${kid}`, { data: value })
      },
    },
  ]
}

suiteNeeding('a start while the key store is in trouble', openbao, () => {
  let world: World
  before(async () => {
    world = await prepareWorld()
  })
  after(async () => {
    await world.disk.close()
    await world.proxy.close()
    await world.bao.close()
  })

  for (const trouble of troubles()) {
    for (const cache of CACHES) {
      const does = trouble.starts.includes(cache) ? 'starts' : 'is refused'
      test(`with a key store that is ${trouble.name} and a boot cache that is ${cache}, it ${does}`, async () => {
        const ring = await ringOf(world)
        await trouble.begin(world)
        try {
          setCache(world, cache)
          const starting = start(world, cache === 'expired' ? 4 * DAY : 0)
          if (does === 'is refused') {
            await assert.rejects(starting, { name: 'PrivateHalfError' })
          } else {
            const deployment = await starting
            const key = deployment.keys.signingKey('acme', 'ES256')
            assert.equal((await deployment.keys.sign(key, 'header.payload')).length, 64)
            await deployment.close()
          }
        } finally {
          await trouble.end(world)
        }
        assert.equal(
          await ringOf(world),
          ring,
          'no key was made in the place of one that is not here',
        )
      })
    }
  }

  test('with a key store that is well again, it starts without any cache', async () => {
    setCache(world, 'none')
    await (await start(world)).close()
  })
})
