import { defaultSuccessors, KEY_DEFAULTS } from '../../keys/options.ts'
import { milliseconds } from '../../lib/option.ts'
import { toTokenLimits } from '../../subject/options.ts'
import type { ConfigValues } from '../schema.ts'
import type { Checked } from '../walk.ts'
import { checkKeyTimes } from './key-times.ts'
import type { Report } from './report.ts'
import { checkVault } from './vault.ts'

type KeyValues = NonNullable<ConfigValues['keys']>

const DAY = 24 * 60 * 60 * 1000
const LONGEST_COPY = 30 * DAY
const SHORTEST_TIMEOUT = 50
const LONGEST_TIMEOUT = 5000

/** What {@link checkKeys} looks at. */
export interface KeyGround {
  readonly tree: Checked
  /** By tenant, of those whose shape is sound. */
  readonly tenants: ReadonlyMap<string, ConfigValues['tenants'][string]>
  /** Undefined for what cannot be read. */
  readonly readText: (path: string) => string | undefined
}

/** Rules about our signing keys: where they are kept, who signs, and that nothing in their life can come too early or too late. */
export function checkKeys(values: ConfigValues, ground: KeyGround, report: Report): void {
  const keys = values.keys ?? {}
  const isDev = values.profile === 'dev'
  checkStore(keys, ground.readText, report)
  checkSigner(keys, ground.readText, report)
  checkCache(keys, report)
  checkKek(keys.store?.sealed?.kek, ['keys', 'store', 'sealed', 'kek'], ground.tree, report)
  checkKek(keys.cache?.kek, ['keys', 'cache', 'kek'], ground.tree, report)
  checkSuccessors(keys, isDev, report)
  const { skewSeconds } = toTokenLimits(values.limits ?? {})
  checkKeyTimes(
    { keys, tenants: ground.tenants, skewMilliseconds: skewSeconds * 1000, isDev },
    report,
  )
}

function remoteSigner({ signer }: KeyValues) {
  return typeof signer === 'object' ? signer.vaultTransit : undefined
}

function checkStore(keys: KeyValues, readText: KeyGround['readText'], report: Report): void {
  const path = ['keys', 'store']
  const { store } = keys
  if (remoteSigner(keys)) {
    // Two places for keys, of which one is never read: whoever wrote this expects something that will not happen.
    if (store) {
      const message = 'with signer: vaultTransit no private half leaves Vault, so none is kept here'
      report.error('config/conflict', path, message, 'remove keys.store, or write signer: local')
    }
    return
  }
  if (!store) {
    const mend =
      'add store: { sealed: { kek: "${file:/run/secrets/kek}" } } below keys; 32 random bytes in base64'
    report.error('config/kek-missing', ['keys'], 'private keys have no place to be kept', mend)
    return
  }
  if (store.vault) checkVault(store.vault, [...path, 'vault'], readText, report)
}

function checkSigner(keys: KeyValues, readText: KeyGround['readText'], report: Report): void {
  const transit = remoteSigner(keys)
  if (!transit) return
  const path = ['keys', 'signer', 'vaultTransit']
  checkVault(transit, path, readText, report)
  const { timeout = '1s' } = transit
  const given = milliseconds(timeout)
  if (given >= SHORTEST_TIMEOUT && given <= LONGEST_TIMEOUT) return
  // A request is answered within seconds: a longer wait would hold it, and everything behind it, for nobody.
  const message = `one signature may take ${timeout}`
  report.error('config/bad-value', [...path, 'timeout'], message, 'write 50ms to 5s')
}

function checkCache({ cache, store, rotateEvery }: KeyValues, report: Report): void {
  if (!cache) return
  const path = ['keys', 'cache']
  if (!store?.vault) {
    const message = 'keys.cache is a copy of what is in Vault, and no key is kept there'
    report.error('config/conflict', path, message, 'remove keys.cache, or use keys.store.vault')
    return
  }
  const maxAge = cache.maxAge ?? KEY_DEFAULTS.cacheMaxAge
  const rotation = milliseconds(rotateEvery ?? KEY_DEFAULTS.rotateEvery)
  const most = Math.min(LONGEST_COPY, rotation)
  const given = milliseconds(maxAge)
  if (given > 0 && given <= most) return
  // The copy outlives what Vault says of a key; past a rotation it would hold keys that nobody has asked about for a whole life.
  const message = `a copy of a key would be used for ${maxAge} without a word from Vault`
  const why = given === 0 ? 'remove keys.cache' : `at most 30d, and at most rotateEvery`
  report.error('config/bad-value', [...path, 'maxAge'], message, why)
}

function checkKek(
  kek: NonNullable<KeyValues['cache']>['kek'] | undefined,
  path: readonly string[],
  { settings }: Checked,
  report: Report,
): void {
  // An empty one was reported when it was looked up.
  if (!kek || kek.reveal() === '') return
  if (!isKek(kek.reveal())) {
    const mend = 'make one with: openssl rand -base64 32'
    report.error('config/kek-form', path, 'the key-encryption key is not 32 bytes', mend)
    return
  }
  const name = path.join('.')
  const own = settings.find((setting) => setting.path.join('.') === name)
  const other = settings.find(
    (setting) => setting !== own && setting.format === 'secret' && setting.hashed === own?.hashed,
  )
  if (!other) return
  // Whoever may read the other secret, say a bearer token that is sent somewhere, could open every key.
  const message = `this key-encryption key is also ${other.path.join('.')}`
  report.error('config/conflict', path, message, 'make one of its own: openssl rand -base64 32')
}

/** 32 bytes in hex, base64 or base64url. */
function isKek(text: string): boolean {
  if (/^[0-9a-f]{64}$/i.test(text)) return true
  // 43 digits of six bits hold 32 bytes and two bits over.
  return /^([A-Za-z0-9+/]{43}=?|[A-Za-z0-9_-]{43}=?)$/.test(text)
}

function checkSuccessors({ successors }: KeyValues, isDev: boolean, report: Report): void {
  const least = defaultSuccessors(!isDev)
  if (successors === undefined || successors >= least) return
  // With one, killing a key leaves none that verifiers know: the next incident would refuse good tokens for a day.
  const message = `${successors} successor is kept ready; after one compromise there would be none`
  report.error('config/successors', ['keys', 'successors'], message, `write ${least}`)
}
