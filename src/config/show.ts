import { pathText, placeText } from './tree.ts'
import type { Setting } from './walk.ts'

/** One line of `config show --origin`. */
export interface ShownSetting {
  readonly key: string
  /** Secrets are `[redacted]`. */
  readonly value: unknown
  /** `default`, `tenants/acme.yaml:38:9`, `env ROLEMINT_…` or `flag …`. */
  readonly origin: string
  readonly reload: 'hot' | 'restart'
}

/** Every value in effect, by its dotted key. */
export function listSettings(settings: readonly Setting[]): readonly ShownSetting[] {
  return settings.map(({ path, shown, place, reload }) => ({
    key: pathText(path),
    value: shown,
    origin: placeText(place),
    reload,
  }))
}

/** The effective configuration as one document, shaped like the file. */
export function effectiveTree(settings: readonly Setting[]): unknown {
  return unfold(settings.map(({ path, shown }) => ({ rest: path, shown })))
}

interface Part {
  readonly rest: readonly (string | number)[]
  readonly shown: unknown
}

function unfold(parts: readonly Part[]): unknown {
  const [first] = parts
  if (first && first.rest.length === 0) return first.shown
  const groups = new Map<string | number, Part[]>()
  for (const { rest, shown } of parts) {
    const [step = '', ...below] = rest
    const group = groups.get(step) ?? []
    group.push({ rest: below, shown })
    groups.set(step, group)
  }
  const entries = [...groups].map(([step, group]) => [step, unfold(group)] as const)
  return typeof first?.rest[0] === 'number'
    ? entries.map(([, value]) => value)
    : Object.fromEntries(entries)
}
