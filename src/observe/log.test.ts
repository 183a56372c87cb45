import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog, scrub } from './log.ts'

function logged(write: (log: ReturnType<typeof createLog>) => void): string {
  let lines = ''
  write(createLog({ write: (line: string) => void (lines += line) }, 'debug'))
  return lines
}

test('a line is one JSON object with level, time and message', () => {
  const line: Record<string, unknown> = JSON.parse(
    logged((log) => log.info({ tenant: 'acme' }, 'request')),
  )
  assert.equal(line['level'], 'info')
  assert.equal(line['tenant'], 'acme')
  assert.equal(line['msg'], 'request')
  assert.match(String(line['time']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
})

test('a token in the message of a library never reaches a line', () => {
  const token = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl'
  const err = new Error(`cannot parse ${token}`, { cause: new Error(`inner ${token}`) })
  const line = logged((log) => log.error({ err }, 'failed'))
  assert.ok(!line.includes('eyJhbGciOiJFUzI1NiJ9') && !line.includes('c2lnbmF0dXJl'))
  assert.match(line, /\[token\]/)
})

test('secrets and admin tokens made by rolemint are scrubbed by their prefix', () => {
  assert.equal(scrub('x rms_0123456789abcdefghijKLMNO y'), 'x [token] y')
  assert.equal(scrub('x rma_0123456789abcdefghijKLMNO y'), 'x [token] y')
  assert.equal(scrub('nothing here'), 'nothing here')
})
