import { join } from 'node:path'
import Type from 'typebox'
import Value from 'typebox/value'
import type { Terminal } from './terminal.ts'

/** Where `up` keeps what it made, below the current folder. */
export const DEV_FOLDER = '.rolemint'

const devStateSchema = Type.Object({
  server: Type.String(),
  admin: Type.String(),
  tenant: Type.String(),
  client: Type.String(),
  audience: Type.String(),
  users: Type.Array(Type.String()),
})

/** What `up` writes for the other commands, so that they work without arguments beside it. */
export type DevState = Type.Static<typeof devStateSchema>

/** Paths below the development folder. */
export const devPaths = (folder: string) => ({
  state: join(folder, 'dev.json'),
  config: join(folder, 'rolemint.dev.yaml'),
  kek: join(folder, 'kek'),
  clientSecret: join(folder, 'client-secret'),
  adminToken: join(folder, 'admin-token'),
  entitlementsToken: join(folder, 'entitlements-token'),
  token: (user: string) => join(folder, `${user}.jwt`),
})

/** What `up` wrote last in this folder; undefined when it never ran here. */
export function readDevState(terminal: Terminal, folder = DEV_FOLDER): DevState | undefined {
  try {
    return Value.Parse(devStateSchema, JSON.parse(terminal.readFile(devPaths(folder).state)))
  } catch {
    return undefined
  }
}
