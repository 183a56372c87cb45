/**
 * The plan of the house as data: which part may use which. `rules.ts` applies it. A new folder, package or built-in
 * is added here on purpose or not at all: whatever the plan does not name is a breach.
 */

/** A part of the house, from the ground up. */
export type Layer =
  | 'lib'
  | 'observe'
  | 'resilience'
  | 'room'
  | 'flow'
  | 'config'
  | 'http'
  | 'cli'
  | 'adapters'
  | 'compose'
  | 'main'

const LAYER_OF_FOLDER: Readonly<Record<string, Layer>> = {
  lib: 'lib',
  observe: 'observe',
  resilience: 'resilience',
  tenant: 'room',
  client: 'room',
  admission: 'room',
  subject: 'room',
  entitlement: 'room',
  policy: 'room',
  keys: 'room',
  audit: 'room',
  cutoff: 'room',
  exchange: 'flow',
  issued: 'flow',
  config: 'config',
  http: 'http',
  cli: 'cli',
  adapters: 'adapters',
  'compose.ts': 'compose',
  'compose-dependencies.ts': 'compose',
  'compose-ground.ts': 'compose',
  'compose-keys.ts': 'compose',
  'compose-servers.ts': 'compose',
  'compose-stores.ts': 'compose',
  'compose-time.ts': 'compose',
  'main.ts': 'main',
}

/** Where a file lives: its layer, and the unit inside it whose files may use each other freely. */
export interface Place {
  readonly layer: Layer
  /** `src/subject`, `src/adapters/sql`: the folder, one deeper for adapters, where each technology stands alone. */
  readonly unit: string
}

/** The place of a file under `src/`; undefined when the plan has no such folder or root file. */
export function placeOf(path: string): Place | undefined {
  const [, first = '', second = ''] = path.split('/')
  const layer = Object.hasOwn(LAYER_OF_FOLDER, first) ? LAYER_OF_FOLDER[first] : undefined
  if (!layer) return undefined
  return { layer, unit: layer === 'adapters' ? `src/adapters/${second}` : `src/${first}` }
}

/** What a layer may import from outside its own unit. */
interface Reach {
  /** Anything, values included. */
  readonly values: readonly Layer[]
  /** Types only: nothing of the target runs. */
  readonly types?: readonly Layer[]
  /** Values of `options.ts` alone. */
  readonly options?: readonly Layer[]
}

/** lib ← observe, resilience ← rooms ← flows ← http, cli; adapters beside the rooms whose ports they fill. */
export const REACH: Readonly<Record<Layer, Reach>> = {
  lib: { values: [] },
  observe: { values: ['lib'] },
  resilience: { values: ['lib'] },
  room: { values: ['lib', 'observe', 'resilience'], types: ['room'] },
  flow: { values: ['lib', 'observe', 'resilience', 'room'], types: ['flow'] },
  // Assembles each room's options.ts; a room that imported config back would tie every room to every other.
  config: { values: ['lib', 'observe'], types: ['room', 'http'], options: ['room', 'http'] },
  http: { values: ['lib', 'observe', 'resilience', 'room', 'flow'], types: ['config'] },
  cli: {
    values: ['lib', 'observe', 'resilience', 'room', 'flow', 'config', 'compose'],
    types: ['http'],
    options: ['http'],
  },
  adapters: {
    values: ['lib', 'observe', 'resilience'],
    types: ['room', 'flow', 'http'],
    options: ['room'],
  },
  compose: {
    // The composition root is in several files, each for a part of the house.
    values: [
      'lib',
      'observe',
      'resilience',
      'room',
      'flow',
      'config',
      'http',
      'adapters',
      'compose',
    ],
  },
  // The entry hands the commands the real files and the real terminal.
  main: { values: ['lib', 'config', 'cli', 'compose'] },
}

/** Packages the product runs on, and the only places that may name them. */
export const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  typebox: ['src/'],
  jose: ['src/'],
  'lru-cache': ['src/'],
  yaml: ['src/config/', 'src/cli/'],
  fastify: ['src/http/'],
  '@fastify/cors': ['src/http/'],
  commander: ['src/cli/', 'src/main.ts'],
  pino: ['src/observe/'],
  'prom-client': ['src/observe/'],
  undici: ['src/adapters/http/', 'src/adapters/vault/'],
  cockatiel: ['src/resilience/'],
  ioredis: ['src/adapters/valkey/'],
  kysely: ['src/adapters/sql/'],
  pg: ['src/adapters/sql/'],
  'node:sqlite': ['src/adapters/sql/'],
  'node:worker_threads': ['src/adapters/'],
  // createRequire would load what the reader of imports cannot see.
  'node:module': [],
}

/** Built-ins that reach outside the process; parts of the house that must be handed what they need may not use them. */
export const IO_BUILTINS = new Set([
  'node:child_process',
  'node:cluster',
  'node:dgram',
  'node:dns',
  'node:fs',
  'node:http',
  'node:http2',
  'node:https',
  'node:net',
  'node:tls',
])

/** Layers that get disk and network as arguments. */
export const WITHOUT_IO: ReadonlySet<Layer> = new Set(['lib', 'resilience', 'room', 'flow'])

/** Layers that get time and randomness as arguments, so that a deployment runs under a simulated clock. */
export const WITHOUT_CLOCK: ReadonlySet<Layer> = new Set(['room', 'flow'])

/** Names that say nothing about what is inside. */
export const EMPTY_NAMES = new Set([
  'util',
  'utils',
  'helper',
  'helpers',
  'common',
  'manager',
  'service',
])

/** Longest file that is not a test, and longest conductor, in lines. */
export const MOST_LINES = { file: 400, conductor: 80 } as const

/** The file that tells the whole exchange in numbered steps. */
export const CONDUCTOR = 'src/exchange/exchange.ts'
