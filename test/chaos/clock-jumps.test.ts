import assert from 'node:assert/strict'
import { test } from 'node:test'
import { suiteNeeding } from '../skip.ts'
import { clockFaults, faketime, jumpClocks } from './clock-run.ts'

suiteNeeding('clock jumps', faketime, (library) => {
  test('attack: a clock set by 1 s to 10 years makes no expired token good and no token long', async () => {
    const report = await jumpClocks({ library, jumps: 20, seed: 11 })
    assert.deepEqual(clockFaults(report), [], JSON.stringify(report))
  })
})
