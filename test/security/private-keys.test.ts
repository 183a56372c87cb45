/** Attack: somebody gets hold of what a server writes or shows, and looks for a private signing key in it. */
import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { openStores } from '../../src/compose-stores.ts'
import { loadConfig } from '../../src/config/load.ts'
import { type OnDisk, writeDeployment } from '../chaos/deployment.ts'
import { vaultStore } from '../chaos/key-store-faults.ts'
import { bareEnvironment, type Served, startServing } from '../chaos/processes.ts'
import { openbao, startOpenBao } from '../fakes/openbao.ts'
import { API, ask, at, type ConfigTree, encode } from '../fakes/sts.ts'
import { suiteNeeding } from '../skip.ts'

const OTHER = 'https://other.acme.example'
const DEADLINE = () => AbortSignal.timeout(30_000)

/** Every way in which `secret` could stand in a text or a file. */
function needlesOf(secret: Buffer): readonly Buffer[] {
  const texts = ['hex', 'base64', 'base64url'] as const
  const aligned = [0, 1, 2].map((shift) => secret.subarray(shift, shift + 24))
  return [
    secret,
    ...texts.flatMap((encoding) => aligned.map((part) => Buffer.from(part.toString(encoding)))),
    Buffer.from(secret.toString('hex').toUpperCase()),
    Buffer.from([...secret.subarray(0, 16)].join(',')), // JSON of a typed array
  ]
}

/** The secret members of the private keys that this deployment signs with. */
async function secretsOf(disk: OnDisk, env: NodeJS.ProcessEnv): Promise<readonly Buffer[]> {
  const { config } = loadConfig({ path: disk.configFile, env })
  const stores = await openStores(config)
  try {
    const ring = await stores.rings.load('acme', DEADLINE())
    const secrets: Buffer[] = []
    for (const { kid } of ring?.keys ?? []) {
      const pkcs8 = await stores.privateKeys?.get('acme', kid, DEADLINE())
      if (!pkcs8) continue
      const key = createPrivateKey({ key: pkcs8.reveal(), format: 'der', type: 'pkcs8' })
      const { d, p, q } = key.export({ format: 'jwk' })
      for (const member of [d, p, q]) if (member) secrets.push(Buffer.from(member, 'base64url'))
    }
    return secrets
  } finally {
    await stores.close()
  }
}

function leaksIn(haystack: Buffer, secrets: readonly Buffer[]): number {
  return secrets.flatMap(needlesOf).filter((needle) => haystack.includes(needle)).length
}

/** Exchanges, mistakes and questions of every kind; everything that was answered. */
async function useEverything(disk: OnDisk, server: Served): Promise<string> {
  const answers: string[] = []
  const post = async (path: string, form: Record<string, string>) => {
    const headers = { authorization: disk.basic }
    const answer = await ask(`${server.url}${path}`, {
      method: 'POST',
      headers,
      body: encode(form),
    })
    answers.push(JSON.stringify([...answer.headers]), answer.text)
    return answer
  }
  for (let round = 0; round < 10; round += 1) {
    const audience = round % 2 === 0 ? API : OTHER
    const answer = await post('/token', { ...disk.exchangeForm(), audience })
    const token = String(answer.body['access_token'])
    assert.equal(answer.status, 200, answer.text)
    answers.push((await post('/introspect', { token })).text)
    await post('/introspect', { token: `${token.slice(0, -8)}AAAAAAAA` })
    await post('/token', { ...disk.exchangeForm(), audience: 'https://no.example' })
    await post('/token', { ...disk.exchangeForm(), subject_token: token.slice(0, 40) })
  }
  for (const path of ['/jwks', '/.well-known/oauth-authorization-server', '/nowhere'])
    answers.push((await ask(`${server.url}${path}`)).text)
  for (const path of ['/metrics', '/readyz', '/admin/v1/keys?tenant=acme'])
    answers.push((await ask(`${server.adminUrl}${path}`)).text)
  return answers.join('\n')
}

/** Makes the server write a heap snapshot into its folder; the collector runs first, so what is in it is held. */
async function heapSnapshot(folder: string, server: Served): Promise<Buffer> {
  server.kill('SIGUSR2')
  for (let size = -1; ; ) {
    await setTimeout(500)
    const name = readdirSync(folder).find((file) => file.endsWith('.heapsnapshot'))
    const bytes = name === undefined ? undefined : readFileSync(join(folder, name))
    if (bytes && bytes.length === size && bytes.includes('"strings":[')) return bytes
    size = bytes?.length ?? -1
  }
}

/** Runs a server on this deployment and looks for its private keys in all that it writes and shows. */
async function searchServer(disk: OnDisk, more: NodeJS.ProcessEnv = {}): Promise<void> {
  const server = await startServing(disk.configFile, {
    cwd: disk.folder,
    env: bareEnvironment({ NODE_OPTIONS: '--heapsnapshot-signal=SIGUSR2', ...more }),
  })
  try {
    const answers = await useEverything(disk, server)
    const secrets = await secretsOf(disk, more)
    assert.ok(secrets.length >= 2 + 2 * 3, 'two keys of each algorithm, RSA with d, p, q')
    const environment = readFileSync(`/proc/${server.pid}/environ`)
    const heap = await heapSnapshot(disk.folder, server)
    server.kill('SIGTERM')
    await server.ended
    // The database, and the sealed boot cache where there is one.
    const names = readdirSync(disk.folder).filter((name) => /^rolemint\.db|\.cache$/.test(name))
    const files = Buffer.concat(names.map((name) => readFileSync(join(disk.folder, name))))
    const logs = Buffer.from(server.stdout() + server.stderr())

    const [kid = ''] = /"kid":"[\w-]{43}"/.exec(answers) ?? []
    const id = kid.slice(7, -1)
    // What is searched is the right thing: the public name of a key is there, where a name belongs.
    for (const [place, bytes] of Object.entries({ files, heap }))
      assert.ok(bytes.includes(id), `${place} know the key ${id}`)
    const places = { answers: Buffer.from(answers), environment, heap, files, logs }
    for (const [place, bytes] of Object.entries(places))
      assert.equal(leaksIn(bytes, secrets), 0, `${place} (${bytes.length} bytes)`)
  } finally {
    server.kill('SIGKILL')
    await server.ended
  }
}

const withRsa = (tree: ConfigTree) => {
  at(tree, 'keys')['perTarget'] = { [OTHER]: 'RS256' }
}

suite('the private halves of signing keys', () => {
  test('are in no log, answer, metric, environment, database file or heap snapshot of a server that signs', async () => {
    const disk = await writeDeployment(withRsa)
    await searchServer(disk).finally(() => disk.close())
  })

  test('would be found in whatever form they leaked', () => {
    const secret = Buffer.from(
      '3c9e1f00a7b2d84c5566778899aabbccddeeff00112233445566778899aabbcc',
      'hex',
    )
    const inside = Buffer.concat([Buffer.from('x'), secret, Buffer.from('y')])
    const forms = [
      inside,
      Buffer.from(inside.toString('hex')),
      Buffer.from(inside.toString('base64')),
      Buffer.from(inside.toString('base64url')),
      Buffer.from(JSON.stringify({ d: secret.toString('base64url') })),
      Buffer.from(JSON.stringify(new Uint8Array(secret)).replace(/"\d+":/g, '')),
    ]
    for (const form of forms) assert.notEqual(leaksIn(form, [secret]), 0)
  })
})

suiteNeeding('the private halves of signing keys that are kept in Vault', openbao, () => {
  test('are nowhere else, and in the boot cache only sealed', async () => {
    const bao = await startOpenBao()
    const { config, secretId } = await vaultStore(bao, bao.addr)
    const disk = await writeDeployment((tree) => {
      withRsa(tree)
      const keys = at(tree, 'keys')
      keys['store'] = config
      keys['cache'] = { file: './keys.cache', kek: '${file:./kek}', maxAge: '72h' }
    })
    try {
      await searchServer(disk, { SECRET_ID: String(secretId) })
    } finally {
      await disk.close()
      await bao.close()
    }
  })
})
