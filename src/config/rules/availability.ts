import { label, type Path } from '../tree.ts'
import type { Checked } from '../walk.ts'
import type { Report } from './report.ts'

interface Absent {
  /** `*` stands for a name or a list position. */
  readonly path: readonly string[]
  /** The values that are not available; left out: any. */
  readonly values?: readonly unknown[]
  readonly instead: string
  /** The configuration loads without it, because nothing becomes less safe. */
  readonly harmless?: true
}

const TENANT = ['tenants', '*'] as const

/** What the format already knows and the program not yet. Each line goes when its feature comes. */
const ABSENT: readonly Absent[] = [
  { path: ['listen', 'public', 'tls', 'clientCa'], instead: 'use privateKeyJwt for clients' },
  { path: ['listen', 'admin', 'tls', 'clientCa'], instead: 'use rolemint admin token' },
  { path: [...TENANT, 'clients', '*', 'auth', 'mtls'], instead: 'use privateKeyJwt' },
  {
    path: [...TENANT, 'clients', '*', 'grants', '*'],
    values: ['refresh', 'revoke', 'feed'],
    instead: 'requests for it are refused; remove it, or leave it for a later version',
    harmless: true,
  },
  { path: ['admins', 'oidc'], instead: 'use rolemint admin token', harmless: true },
]

/** Refuses what would be silently without effect, and warns where that is harmless. */
export function checkAvailability(
  tree: Checked,
  valueAt: (path: Path) => unknown,
  report: Report,
): void {
  for (const { path, caret } of tree.places.values()) {
    if (caret.kind === 'default') continue
    const absent = ABSENT.find((one) => matches(one.path, path))
    if (!absent) continue
    const value = valueAt(path)
    if (absent.values && !absent.values.includes(value)) continue
    const isWord = typeof value === 'string' && absent.values
    const message = `${label(path)}${isWord ? `: ${value}` : ''} is not available in this version`
    report[absent.harmless ? 'warning' : 'error'](
      'config/not-available',
      path,
      message,
      absent.instead,
    )
  }
}

function matches(pattern: readonly string[], path: Path): boolean {
  return (
    pattern.length === path.length &&
    pattern.every((step, index) => step === '*' || step === path[index])
  )
}
