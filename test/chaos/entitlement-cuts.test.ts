import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faultsOf, runCuts } from './entitlement-cut-run.ts'

const log = () => undefined

test('a deployment whose source is cut gives all roles, those of before, the listed ones, or a refusal', async () => {
  const report = await runCuts({ step: 211, log })
  assert.deepEqual(faultsOf(report), [], JSON.stringify(report))
  assert.ok(report.cuts > 150)
})

test('a list that is short without a sign of it would be noticed', async () => {
  const report = await runCuts({ step: 400, log, fault: 'short-list' })
  assert.ok(report.partial > 0, JSON.stringify(report))
})
