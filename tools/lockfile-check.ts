/**
 * What every installation of rolemint pulls in, held to four promises: no code runs at install time, a bounded number
 * of packages, exact versions, and no address of anybody's registry in the lockfile.
 */
import { readFileSync } from 'node:fs'
import { ROOT } from './run-tests.ts'

/** Most packages a production install may have. */
const MOST_PACKAGES = 165

interface LockedPackage {
  readonly version?: string
  readonly resolved?: string
  readonly dev?: boolean
  readonly devOptional?: boolean
  readonly hasInstallScript?: boolean
}

interface Lockfile {
  readonly packages: Readonly<Record<string, LockedPackage>>
}

type Manifest = Readonly<
  Partial<
    Record<'dependencies' | 'devDependencies' | 'optionalDependencies', Record<string, string>>
  >
>

/** What breaks one of the promises, as sentences; and how many packages a production install has. */
export function checkLockfile(
  manifest: Manifest,
  lock: Lockfile,
): { readonly complaints: string[]; readonly production: number } {
  const all = Object.entries(lock.packages).filter(([path]) => path !== '')
  const production = all.filter(([, { dev, devOptional }]) => !dev && !devOptional)
  const complaints = production
    .filter(([, { hasInstallScript }]) => hasInstallScript)
    .map(([path]) => `${path} runs a script when it is installed.`)
  if (all.length === 0) complaints.push('The lockfile names no package: nothing was checked.')
  if (production.length > MOST_PACKAGES)
    complaints.push(`${production.length} production packages; at most ${MOST_PACKAGES}.`)
  for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies'] as const) {
    for (const [name, range] of Object.entries(manifest[kind] ?? {})) {
      if (!/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/.test(range))
        complaints.push(`${name} is "${range}" in ${kind}: pin one version.`)
      const locked = lock.packages[`node_modules/${name}`]?.version
      if (locked !== undefined && locked !== range && /^\d+\.\d+\.\d+/.test(range))
        complaints.push(`${name} is ${range} in package.json but ${locked} in the lockfile.`)
    }
  }
  // An address ties every clone to one mirror; .npmrc has npm leave them out.
  for (const [path, { resolved }] of all) {
    if (resolved?.includes('://'))
      complaints.push(`${path} has a download address in the lockfile.`)
  }
  return { complaints, production: production.length }
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(`${ROOT}/${name}`, 'utf8'))
}

if (import.meta.main) {
  const { complaints, production } = checkLockfile(
    read('package.json') as Manifest,
    read('package-lock.json') as Lockfile,
  )
  for (const complaint of complaints) console.error(`FAIL  ${complaint}`)
  console.log(
    `${production} production packages (at most ${MOST_PACKAGES}), ${complaints.length} complaints`,
  )
  process.exitCode = complaints.length > 0 ? 1 : 0
}
