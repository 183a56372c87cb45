import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CommanderError } from 'commander'
import { parse } from 'yaml'
import { fakeConfigFiles } from '../../test/fakes/config-files.ts'
import { configCommand } from './config.ts'

const GOOD = `version: 1
profile: dev
keys: { store: { sealed: { kek: "\${env:KEK}" } } }
tenants:
  acme:
    issuer: https://sts.acme.example
    idps: { login: { issuer: https://login.acme.example, audience: rolemint } }
    clients: {}
`

function run(argv: readonly string[], text = GOOD, env: Readonly<Record<string, string>> = {}) {
  const result = { stdout: '', stderr: '', code: 0 as number }
  const io = {
    stdout: (data: string) => void (result.stdout += data),
    stderr: (talk: string) => void (result.stderr += talk),
    env: { KEK: '07'.repeat(32), ...env },
    files: fakeConfigFiles({ '/c/rolemint.yaml': text }),
    exit: (code: number) => void (result.code = code),
  }
  configCommand(io).parse([...argv], { from: 'user' })
  return result
}

test('check of a valid file exits 0, with its talk on stderr and nothing on stdout', () => {
  const { stdout, stderr, code } = run(['check', '-c', '/c/rolemint.yaml'])

  assert.deepEqual([code, stdout], [0, ''])
  assert.equal(stderr, '/c/rolemint.yaml is valid\n')
})

test('check of an invalid file exits 3 and shows the frame', () => {
  const { stderr, code } = run(['check', '-c', '/c/rolemint.yaml'], GOOD.replace('issuer', 'isuer'))

  assert.equal(code, 3)
  assert.match(stderr, /error\[config\/unknown-key\]: .*\n {2}--> rolemint\.yaml:6:5\n/)
  assert.match(stderr, /invalid: 1 error\n$/)
})

test('check -o json prints all problems for machines, and the hash when there are none', () => {
  const bad = run(
    ['check', '-c', '/c/rolemint.yaml', '-o', 'json'],
    GOOD.replace('issuer', 'isuer'),
  )
  const { valid, problems } = JSON.parse(bad.stdout)
  assert.deepEqual([bad.code, bad.stderr, valid], [3, '', false])
  assert.equal(problems[0].code, 'config/unknown-key')
  assert.deepEqual([problems[0].line, problems[0].column, problems[0].length], [6, 5, 5])

  const good = run(['check', '-c', '/c/rolemint.yaml', '-o', 'json'])
  assert.match(JSON.parse(good.stdout).hash, /^[0-9a-f]{64}$/)
})

test('the file is named by ROLEMINT_CONFIG when no flag names it', () => {
  assert.equal(run(['check'], GOOD, { ROLEMINT_CONFIG: '/c/rolemint.yaml' }).code, 0)
})

test('show prints the effective configuration in the shape of the file, secrets redacted', () => {
  const shown = parse(run(['show', '-c', '/c/rolemint.yaml', '--set', 'limits.skew=5s']).stdout)

  assert.equal(shown.limits.skew, '5s')
  assert.equal(shown.keys.store.sealed.kek, '[redacted]')
  assert.equal(shown.tenants.acme.tokens.ttl, '12h')
  assert.deepEqual(
    JSON.parse(run(['show', '-c', '/c/rolemint.yaml', '-o', 'json']).stdout).cache,
    'memory',
  )
})

test('show --origin says of every value where it comes from and when a change takes effect', () => {
  const argv = ['show', '--origin', '-c', '/c/rolemint.yaml']
  const { settings } = JSON.parse(run([...argv, '-o', 'json']).stdout)
  const of = (key: string) => settings.find((setting: { key: string }) => setting.key === key)

  assert.deepEqual(of('profile'), {
    key: 'profile',
    value: 'dev',
    origin: 'rolemint.yaml:2:10',
    reload: 'restart',
  })
  assert.equal(of('tenants.acme.tokens.ttl').origin, 'default')
  assert.match(
    run([...argv, '-o', 'table']).stdout,
    /^profile +dev +rolemint\.yaml:2:10 +restart$/m,
  )
  const yaml = run([...argv, '-o', 'yaml']).stdout
  assert.match(yaml, /^"profile": "dev" # rolemint\.yaml:2:10, restart$/m)
  assert.equal(parse(yaml).profile, 'dev')
})

test('show of an invalid file exits 3 and prints no data', () => {
  const { stdout, code } = run(['show', '-c', '/c/no-such.yaml'])
  assert.deepEqual([code, stdout], [3, ''])
})

test('explain says what a key means, by its full name, its pattern or its end', () => {
  for (const key of [
    'tenants.acme.tokens.ttl',
    'tenants.*.tokens.ttl',
    'tokens.ttl',
    'tenants.a.b.tokens.ttl',
  ]) {
    const { stdout, code } = run(['explain', key])
    assert.equal(code, 0)
    assert.match(stdout, /^tenants\.<tenant>\.tokens\.ttl\n.*12h/)
    assert.match(stdout, /takes effect at once/)
  }
  assert.match(run(['explain', 'keys.rotateEvery']).stdout, /ROLEMINT_KEYS_ROTATE_EVERY/)
  assert.equal(
    JSON.parse(run(['explain', 'roles.map[0].to', '-o', 'json']).stdout).key,
    'tenants.<tenant>.roles.map[].to',
  )
})

test('explain of an unknown key exits 2 and names the nearest', () => {
  const { stdout, stderr, code } = run(['explain', 'keys.rotatEvery'])

  assert.deepEqual([code, stdout], [2, ''])
  assert.match(stderr, /did you mean keys\.rotateEvery\?/)
})

test('schema prints a JSON Schema', () => {
  assert.equal(JSON.parse(run(['schema']).stdout).title, 'rolemint configuration')
})

test('an unknown option is thrown for the caller to end with', () => {
  assert.throws(() => run(['check', '--fast']), CommanderError)
})
