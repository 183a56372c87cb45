import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openbao } from '../../fakes/openbao.ts'
import { valkeyServer } from '../../fakes/valkey.ts'
import { type Part, postgres, suiteNeeding } from '../../skip.ts'
import {
  launchOpenBao,
  launchPostgres,
  launchUpstream,
  launchValkey,
  type RealServer,
} from './servers.ts'

const HTTP = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
/** SSLRequest: the shortest question that PostgreSQL answers, with one letter. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])

type State = 'answers' | 'silent' | 'refuses'

/** What a client that says `greeting` meets. */
function meets(port: number, greeting: string | Buffer, milliseconds: number): Promise<State> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const over = (state: State) => {
      socket.destroy()
      resolve(state)
    }
    socket.write(greeting)
    socket.once('data', () => over('answers'))
    socket.once('error', () => over('refuses'))
    socket.setTimeout(milliseconds, () => over('silent'))
  })
}

async function becomes(state: State, server: RealServer, greeting: string | Buffer): Promise<void> {
  const deadline = Date.now() + 60_000
  while ((await meets(server.port, greeting, 500)) !== state) {
    assert.ok(Date.now() < deadline, `${server.name} never ${state}`)
    await sleep(50)
  }
}

/** Kill, restart, stop and continue, as seen by a client. */
async function obeys(server: RealServer, greeting: string | Buffer, alive: () => Promise<unknown>) {
  try {
    await becomes('answers', server, greeting)
    await server.stop()
    assert.equal(await meets(server.port, greeting, 500), 'silent')
    server.cont()
    await becomes('answers', server, greeting)
    await server.kill()
    assert.equal(await meets(server.port, greeting, 5000), 'refuses')
    await server.restart()
    await becomes('answers', server, greeting)
    await alive()
  } finally {
    await server.close()
  }
}

const always: Part<true> = { name: 'nothing', mend: '', find: () => ({ found: true }) }

suiteNeeding('launchers: upstreams of our own', always, () => {
  for (const name of ['idp', 'entitlement'] as const) {
    test(`${name} can be stopped, continued, killed and started again on its port`, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'rolemint-upstream-'))
      const state = join(folder, 'state.json')
      writeFileSync(state, JSON.stringify({ ada: ['a', 'b', 'c'], keys: [] }))
      const server = await launchUpstream(name, state)
      const path = name === 'idp' ? '/one/jwks' : '/users/ada/roles?page=2'
      await obeys(server, HTTP, async () => {
        const answer = await fetch(`http://127.0.0.1:${server.port}${path}`)
        assert.equal(answer.status, 200)
      })
      rmSync(folder, { recursive: true })
    })
  }
})

suiteNeeding('launchers: PostgreSQL', postgres, () => {
  test('the store can be stopped, continued, crashed and started again on its data', async () => {
    const { server, itself } = await launchPostgres()
    await itself.execute('create table kept (id int)')
    await obeys(server, SSL_REQUEST, () => itself.execute('insert into kept values (1)'))
  })
})

suiteNeeding('launchers: OpenBao', openbao, () => {
  test('the vault can be stopped, continued, killed and started again on its data', async () => {
    const { server, itself } = await launchOpenBao()
    await obeys(server, HTTP, () => itself.admin('GET', 'rolemint/config'))
  })
})

suiteNeeding('launchers: Valkey', valkeyServer, () => {
  test('the cache can be stopped, continued, killed and started again on its port', async () => {
    const { server, itself } = await launchValkey()
    await obeys(server, 'PING\r\n', () => itself.command('PING'))
  })
})
