import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { findMissing } from '../chaos/audit.ts'
import { writeDeployment } from '../chaos/deployment.ts'
import { faultsOf, killUnderLoad } from '../chaos/kills.ts'
import { createCaller } from '../chaos/load.ts'
import { startServing } from '../chaos/processes.ts'

describe('a server killed under load', () => {
  test('15 kills lose no answered token, and free no once-only id', async (t) => {
    const report = await killUnderLoad({ kills: 15 })
    t.diagnostic(JSON.stringify(report))
    assert.deepEqual(faultsOf(report), [])
    assert.equal(report.kills, 15)
  })

  test('the search of the ledger misses a token that was never recorded, and no other', async () => {
    const disk = await writeDeployment()
    const server = await startServing(disk.configFile)
    const caller = createCaller(server.url, disk)
    try {
      const ask = { once: 'subject', assertion: undefined, form: disk.exchangeForm() } as const
      const reply = await caller.exchange(ask)
      assert.ok(reply.kind === 'token')
      server.kill('SIGKILL')
      await server.ended
      assert.equal(await findMissing(disk.configFile, [reply.token]), 0)
      assert.equal(await findMissing(disk.configFile, [reply.token, disk.subjectToken()]), 1)
    } finally {
      server.kill('SIGKILL')
      await server.ended
      await caller.close()
      await disk.close()
    }
  })
})
