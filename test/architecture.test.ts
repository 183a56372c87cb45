import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { breaches, isTest } from '../tools/architecture/rules.ts'
import { readFolder, readSource } from '../tools/architecture/source.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

// Fewer than this and the reader has gone blind, not the house empty.
const FEWEST_FILES = 180
const FEWEST_EDGES = 700

suite('the house is built to plan', () => {
  const files = readFolder(ROOT, 'src')

  test('the reader sees enough files and imports to prove anything', () => {
    const edges = [...files]
      .filter(([path]) => !isTest(path))
      .flatMap(([path, text]) => readSource(path, text).edges)
    assert.ok(
      files.has('src/main.ts') && files.has('src/compose.ts'),
      'the root files are read too',
    )
    assert.ok(files.size >= FEWEST_FILES, `saw ${files.size} files, expected ${FEWEST_FILES}`)
    assert.ok(edges.length >= FEWEST_EDGES, `saw ${edges.length} edges, expected ${FEWEST_EDGES}`)
    for (const kind of ['import', 'dynamic', 'url'] as const)
      assert.ok(
        edges.some((edge) => edge.kind === kind),
        `saw no edge of kind "${kind}", though the product has some`,
      )
  })

  test('no file of src breaks a rule of the architecture', () => {
    const found = breaches(files).map(
      ({ rule, path, line, what }) => `${path}:${line} [${rule}] ${what}`,
    )
    assert.equal(found.length, 0, `\n${found.join('\n')}`)
  })
})

/**
 * One small house with one fault a line: the rule that has to notice | where the fault lies | what it says (⏎ new line,
 * ⏎⏎ a second file beside it, called b.ts) | what went wrong.
 */
const FAULTS = `
# Direction
types only | src/policy/decide.ts | import { verify } from '../subject/verify.ts' | a room that takes a value from another room
types only | src/keys/ring.ts | import { type Subject, verify } from '../subject/verify.ts' | a value beside a type in one import
types only | src/keys/ring.ts | import '../subject/verify.ts' | a side-effect import of another room
types only | src/keys/ring.ts | export { verify } from '../subject/verify.ts' ⏎ export const own = 1 | a re-export of another room
types only | src/keys/ring.ts | export * from '../subject/verify.ts' ⏎ export const own = 1 | a star re-export of another room
types only | src/keys/ring.ts | export const load = () => import('../subject/verify.ts') | a dynamic import of another room
types only | src/keys/ring.ts | export const load = () => import(\`../subject/verify.ts\`) | a dynamic import in a template literal
types only | src/keys/ring.ts | export const file = new URL('../subject/verify.ts', import.meta.url) | another room named as a worker file
types only | src/keys/ring.ts | import { keySchema } from '../subject/options.ts' | a room that takes the options of another room
direction | src/keys/ring.ts | import type { Config } from '../config/config.ts' | a room that imports config, even for types
direction | src/keys/ring.ts | export type C = import('../config/config.ts').Config | a room that reaches config through a type query
direction | src/audit/entry.ts | import { exchange } from '../exchange/exchange.ts' | a room that imports a flow
direction | src/audit/entry.ts | import { open } from '../adapters/sql/ledger.ts' | a room that imports an adapter
direction | src/exchange/exchange.ts | import { send } from '../http/form.ts' | a flow that imports the edge
types only | src/issued/introspect.ts | import { exchange } from '../exchange/exchange.ts' | a flow that runs another flow
direction | src/lib/id.ts | import type { Ring } from '../keys/ring.ts' | lib that imports a room
direction | src/resilience/breaker.ts | import { log } from '../observe/log.ts' | resilience that imports observe
direction | src/observe/metrics.ts | import type { Ring } from '../keys/ring.ts' | observe that imports a room
direction | src/http/server.ts | import { open } from '../adapters/sql/ledger.ts' | the edge that imports an adapter
direction | src/http/server.ts | import { serve } from '../cli/serve.ts' | the edge that imports the command line
direction | src/cli/serve.ts | import { open } from '../adapters/sql/ledger.ts' | a command that imports an adapter
direction | src/main.ts | import { open } from './adapters/sql/ledger.ts' | main that imports an adapter
direction | src/http/server.ts | import { compose } from '../compose.ts' | the edge that imports the composition root
types only | src/adapters/memory/ledger.ts | import { verify } from '../../subject/verify.ts' | an adapter that takes a value from a room
direction | src/adapters/memory/ledger.ts | export const file = new URL(\`../sql/writer\${ending}\`, import.meta.url) | a worker file whose ending is computed
direction | src/adapters/memory/ledger.ts | import { open } from '../sql/ledger.ts' | an adapter that leans on another technology
direction | src/adapters/sql/open.ts | import type { Config } from '../../config/config.ts' | an adapter that imports config
types only | src/config/load.ts | import { verify } from '../subject/verify.ts' | config that takes more than options from a room
# Outside src
outside src | src/cli/serve.ts | import { startSts } from '../../test/fakes/sts.ts' | product code that imports a fake
outside src | src/cli/serve.ts | export const load = () => import('../../bench/main.ts') | product code that imports the bench
test in product | src/keys/ring.ts | import { ring } from './ring.test.ts' | product code that imports a unit test
demo | src/cli/serve.ts | export const load = () => import('../../demo/idp.ts') | a command other than up that loads the demo
demo | src/cli/up.ts | import { startIdp } from '../../demo/idp.ts' | up that loads the demo at once
computed import | src/keys/ring.ts | export const load = (name: string) => import(name) | a dynamic import that no rule can follow
# Packages and built-ins
vendor | src/entitlement/lookup.ts | import { request } from 'undici' | undici outside its adapter
vendor | src/audit/entry.ts | import type { Kysely } from 'kysely' | a vendor type outside its adapter
vendor | src/compose.ts | import { Migrator } from 'kysely/migration' | a subpath of a vendor package
vendor | src/adapters/sql/ledger.ts | import { request } from 'undici' | undici in the SQL adapter
vendor | src/compose.ts | import { Pool } from 'pg' | pg in the composition root
vendor | src/audit/entry.ts | import { DatabaseSync } from 'node:sqlite' | node:sqlite outside its adapter
vendor | src/exchange/exchange.ts | import { Worker } from 'node:worker_threads' | worker threads outside an adapter
vendor | src/exchange/exchange.ts | import type { FastifyRequest } from 'fastify' | Fastify outside the edge
vendor | src/config/load.ts | import { Command } from 'commander' | commander outside the command line
vendor | src/http/server.ts | import { pino } from 'pino' | pino outside observe
vendor | src/http/server.ts | import { Counter } from 'prom-client' | prom-client outside observe
vendor | src/keys/ring.ts | import axios from 'axios' | a package that is not in the plan
vendor | src/keys/ring.ts | import { createRequire } from 'node:module' | a way round the reader of imports
built-in | src/cli/serve.ts | import { readFileSync } from 'fs' | a built-in without its prefix
i/o | src/keys/ring.ts | import { readFile } from 'node:fs/promises' | a room that reads files
i/o | src/subject/discovery.ts | import { connect } from 'node:net' | a room that opens sockets
i/o | src/exchange/exchange.ts | import { request } from 'node:http' | a flow that speaks HTTP
i/o | src/lib/id.ts | import { lookup } from 'node:dns/promises' | lib that resolves names
i/o | src/keys/ring.ts | import { spawn } from 'node:child_process' | a room that starts processes
# Purity
pure policy | src/policy/decide.ts | import { createHash } from 'node:crypto' | a policy that uses node:crypto
pure policy | src/policy/decide.ts | export const now = () => Date.now() | a policy that reads Date.now
pure policy | src/policy/decide.ts | export const now = () => new Date() | a policy that makes a Date of now
pure policy | src/policy/decide.ts | export const clock = () => { const D = Date; return new D() } | a policy that hides Date in a variable
pure policy | src/policy/decide.ts | export const dice = () => Math.random() | a policy that draws Math.random
pure policy | src/policy/decide.ts | export const on = () => process.env['FLAG'] | a policy that reads the environment
pure policy | src/policy/decide.ts | export const now = () => performance.now() | a policy that reads performance.now
pure policy | src/policy/decide.ts | export const ask = (url: string) => fetch(url) | a policy that fetches
pure policy | src/policy/decide.ts | import { systemClock } from '../lib/clock.ts' ⏎ export const now = () => systemClock.now() | a policy that takes the clock of the machine
clock | src/subject/times.ts | export const now = () => Date.now() | a room with a clock of its own
clock | src/issued/introspect.ts | export const now = () => new Date().getTime() | a flow with a clock of its own
# Lasting state
module state | src/keys/ring.ts | let current = 0 ⏎ export const next = () => ++current | a top-level let
module state | src/keys/ring.ts | export let current = 0 | an exported top-level let
module state | src/keys/ring.ts | const cache = new Map<string, string>() ⏎ export const get = (k: string) => cache.get(k) | a top-level cache
module state | src/keys/ring.ts | export const seen: string[] = [] | a top-level list to be filled
# Names, barrels, circles, sizes
empty name | src/lib/utils.ts | export const a = 1 | a file called utils
empty name | src/keys/key-manager.ts | export const a = 1 | a file called key-manager
empty name | src/http/common/form.ts | export const a = 1 | a folder called common
barrel | src/keys/index.ts | export const a = 1 | an index file
barrel | src/keys/all.ts | export { a } from './ring.ts' | a file that only passes on
unplanned | src/stuff/thing.ts | export const a = 1 | a folder that the plan does not know
unplanned | src/server.ts | export const a = 1 | a root file that the plan does not know
cycle | src/keys/a.ts | import { b } from './b.ts' ⏎ export const a = () => b ⏎⏎ import { a } from './a.ts' ⏎ export const b = () => a | two files that import each other
cycle | src/keys/a.ts | import type { B } from './b.ts' ⏎ export type A = B ⏎⏎ import type { A } from './a.ts' ⏎ export type B = A | two files that need each other for types
size | src/keys/ring.ts | (401 lines) | a file of 401 lines
size | src/exchange/exchange.ts | (81 lines) | a conductor of 81 lines
`

interface Fault {
  readonly rule: string
  readonly path: string
  readonly text: string
  readonly beside: string | undefined
  readonly name: string
}

function faults(): Fault[] {
  const lines = FAULTS.trim().split('\n')
  return lines
    .filter((line) => !line.startsWith('#'))
    .map((line) => {
      const [rule = '', path = '', source = '', name = ''] = line.split(' | ')
      const long = /^\((\d+) lines\)$/.exec(source)
      const code = long ? '//\n'.repeat(Number(long[1])) : source
      const [text = '', beside] = code.split(' ⏎⏎ ').map((part) => part.replaceAll(' ⏎ ', '\n'))
      return { rule, path, text, beside, name }
    })
}

suite('each rule of the house bites', () => {
  for (const { rule, path, text, beside, name } of faults()) {
    test(`${name} is a breach`, () => {
      const files = new Map([[path, text]])
      if (beside !== undefined) files.set(path.replace(/[^/]*$/, 'b.ts'), beside)
      const found = breaches(files)
      // Exactly this rule: a fault that another rule happens to catch proves nothing about its own.
      assert.deepEqual([...new Set(found.map((breach) => breach.rule))], [rule])
      assert.equal(found[0]?.path, path)
    })
  }

  test('an adapter may take the error its port names, and nothing beside it', () => {
    const port = `export class Failure extends Error {}\nexport const lookup = 1`
    const taking = (names: string) =>
      breaches(
        new Map([
          ['src/audit/ledger.ts', port],
          ['src/adapters/memory/ledger.ts', `import { ${names} } from '../../audit/ledger.ts'`],
        ]),
      ).map(({ rule }) => rule)
    assert.deepEqual(taking('Failure'), [])
    assert.deepEqual(taking('Failure, type Entry'), [])
    assert.deepEqual(taking('Failure, lookup'), ['types only'])
  })

  test('a house with none of these faults has no breach', () => {
    const sound = new Map([
      ['src/lib/clock.ts', `export const systemClock = { now: () => Date.now() }`],
      [
        'src/policy/options.ts',
        `import Type from 'typebox'\nexport const schema = Type.Object({})`,
      ],
      [
        'src/policy/decide.ts',
        `import type { Subject } from '../subject/verify.ts'\nimport { type Rate } from '../admission/rate.ts'\nexport const at = (s: Subject, r: Rate) => [s, r, new Date(0), Date.UTC(1970), { process: 1 }]`,
      ],
      [
        'src/subject/verify.ts',
        `import { createHash } from 'node:crypto'\nimport type { TLSSocket } from 'node:tls'\nimport { seconds } from '../lib/duration.ts'\nexport const verify = (t: TLSSocket) => [createHash, seconds, t]`,
      ],
      [
        'src/exchange/exchange.ts',
        `import { verify } from '../subject/verify.ts'\nexport const run = () => { let n = 0; return [verify, ++n, new Map()] }`,
      ],
      [
        'src/config/schema.ts',
        `import { schema } from '../policy/options.ts'\nimport { parse } from 'yaml'\nexport const all = [schema, parse]`,
      ],
      [
        'src/adapters/sql/ledger.ts',
        `import type { Ledger } from '../../audit/ledger.ts'\nimport { Kysely } from 'kysely'\nexport const file = new URL('./writer.ts', import.meta.url)\nexport type L = [Ledger, Kysely<unknown>]`,
      ],
      [
        'src/http/server.ts',
        `import fastify from 'fastify'\nimport { run } from '../exchange/exchange.ts'\nexport const serve = () => [fastify, run]`,
      ],
      [
        'src/compose.ts',
        `import { file } from './adapters/sql/ledger.ts'\nimport { serve } from './http/server.ts'\nexport const compose = () => [file, serve]`,
      ],
      [
        'src/cli/up.ts',
        `import { compose } from '../compose.ts'\nexport const up = async (name: string) => [compose, await import('../../demo/idp.ts'), await import(name)]`,
      ],
      [
        'src/main.ts',
        `import { Command } from 'commander'\nimport { up } from './cli/up.ts'\nexport const main = () => [Command, up]`,
      ],
      [
        'src/cli/up.test.ts',
        `import { startSts } from '../../test/fakes/sts.ts'\nimport { compose } from '../compose.ts'\nlet n = [startSts, compose]`,
      ],
    ])
    assert.deepEqual(breaches(sound), [])
  })
})
