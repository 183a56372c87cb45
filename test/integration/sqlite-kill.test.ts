/** The SQLite store against SIGKILL: what was acknowledged is there. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { createSqliteStore } from '../../src/adapters/sql/sqlite-store.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createSystemRandom } from '../../src/lib/id.ts'
import { once as onceOnly } from '../contracts/ledger.ts'

const soon = () => AbortSignal.timeout(10_000)

const APPENDER = `
  const [store, clock, random, path] = process.argv.slice(-4)
  const { createSqliteStore } = await import(store)
  const { systemClock } = await import(clock)
  const { createSystemRandom } = await import(random)
  const { createHash, randomBytes } = await import('node:crypto')
  const { writeSync } = await import('node:fs')
  const { setTimeout } = await import('node:timers/promises')
  // On a slow disk one process may find the file busy for longer than it waits. It is refused then, which is no loss: try again.
  const insist = async (work) => {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        writeSync(2, error.message + '\\n')
        await setTimeout(20)
      }
    }
  }
  const { ledger } = await insist(() => createSqliteStore({ clock: systemClock, random: createSystemRandom() }, { path }))
  const loop = async () => {
    for (;;) await insist(async () => {
      const id = randomBytes(20).toString('base64url')
      const digest = createHash('sha256').update(id).digest()
      const claims = [{ kind: 'once', scope: 'assertion', tenant: 'acme', key: id, expiresAt: 9e15 }]
      await ledger.append({ id, event: 'issued', tenant: 'acme', at: 1, digest, details: {} }, claims, AbortSignal.timeout(9000))
      writeSync(1, id + '\\n')
    })
  }
  await Promise.all(Array.from({ length: 8 }, loop))
`

function startAppender(path: string): ChildProcess {
  const modules = ['adapters/sql/sqlite-store.ts', 'lib/clock.ts', 'lib/id.ts'].map(
    (module) => new URL(`../../src/${module}`, import.meta.url).href,
  )
  return spawn(
    process.execPath,
    ['--input-type=module', '--eval', APPENDER, '--', ...modules, path],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
}

const FIRST_ENTRY_MILLISECONDS = 40_000

/** Lets two processes append to one file and kills both; returns what they had been told is durable. */
async function appendAndKill(path: string, milliseconds: number): Promise<readonly string[]> {
  const children = [startAppender(path), startAppender(path)]
  const said = await Promise.all(
    children.map(async (child) => {
      let text = ''
      let complaint = ''
      child.stderr?.on('data', (chunk: Buffer) => {
        complaint += chunk.toString()
      })
      const ended = once(child, 'close')
      try {
        await new Promise<void>((resolve, reject) => {
          child.stdout?.on('data', (chunk: Buffer) => {
            text += chunk.toString()
            resolve()
          })
          child.once('close', () => reject(new Error(`The appender ended by itself: ${complaint}`)))
          AbortSignal.timeout(FIRST_ENTRY_MILLISECONDS).addEventListener('abort', () => {
            reject(new Error(`The appender wrote nothing: ${complaint}`))
          })
        })
        await setTimeout(milliseconds)
      } finally {
        child.kill('SIGKILL')
        await ended
      }
      return text.split('\n').slice(0, -1)
    }),
  )
  return said.flat()
}

test('killed 20 times while two processes append, no acknowledged entry or claim is missing', {
  timeout: 240_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-sqlite-'))
  try {
    const path = join(folder, 'state.db')
    const acknowledged: string[] = []
    for (let round = 0; round < 10; round += 1) {
      acknowledged.push(...(await appendAndKill(path, round * 5))) // another moment each time
    }
    assert.ok(acknowledged.length >= 20)
    const store = await createSqliteStore(
      { clock: systemClock, random: createSystemRandom() },
      { path },
    )
    for (const id of acknowledged) {
      const digest = createHash('sha256').update(id).digest()
      assert.ok(await store.ledger.holds('acme', digest, soon()), id)
    }
    const replays = await Promise.all(
      acknowledged.map((id) => store.ledger.append(undefined, [onceOnly(id)], soon())),
    )
    assert.ok(replays.every(({ recorded }) => !recorded))
    await store.close()
    const db = new DatabaseSync(path)
    assert.deepEqual({ ...db.prepare('pragma integrity_check').get() }, { integrity_check: 'ok' })
    db.close()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
