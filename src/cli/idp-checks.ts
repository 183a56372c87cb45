import { isJsonObject } from '../lib/strict-json.ts'
import {
  advertisedFirst,
  checkMetadata,
  discoveryUrl,
  type Metadata,
} from '../subject/key-documents.ts'
import { type AdmittedKeys, admitKeys } from '../subject/key-gate.ts'
import type { AlgorithmName, KeySource } from '../subject/options.ts'
import type { Checks } from './checks.ts'
import { type Answered, fetchDocument } from './idp-fetch.ts'
import type { Terminal } from './terminal.ts'

/** What is checked. */
export interface CheckedIdp {
  readonly keySource: KeySource
  readonly algorithms: readonly AlgorithmName[]
  readonly skewSeconds: number
  /** Plain http is for the dev profile. */
  readonly allowHttp: boolean
}

const GOOD_MILLISECONDS = 500
/** Deadline of the server for discovery and keys together. */
const MOST_MILLISECONDS = 2000

/** Checks where the keys come from. Gives the usable ones; undefined when there are none. */
export async function checkKeys(
  terminal: Pick<Terminal, 'fetch'>,
  idp: CheckedIdp,
  checks: Checks,
): Promise<AdmittedKeys | undefined> {
  const { keySource } = idp
  if (keySource.kind === 'inline') {
    checks.ok('keys', 'are written in the configuration; nothing is fetched')
    return checkSet(keySource.jwks, idp.algorithms, undefined, checks)
  }
  if (keySource.kind === 'jwksUri') {
    if (!isAllowed(keySource.uri, idp, 'jwks.address', checks)) return undefined
    return checkFetchedSet(terminal, keySource.uri, idp, undefined, checks)
  }
  const { issuer } = keySource
  const url = discoveryUrl(issuer)
  if (!isAllowed(url, idp, 'discovery.address', checks)) return undefined
  const answered = await fetchDocument(terminal, url)
  checkTimes('discovery', answered, idp, checks)
  const metadata = checkDiscovery(answered, issuer, idp.algorithms, checks)
  if (metadata === undefined) return undefined
  const patience = MOST_MILLISECONDS - answered.milliseconds
  return checkFetchedSet(terminal, metadata.jwks_uri, idp, metadata, checks, patience)
}

function isAllowed(url: string, { allowHttp }: CheckedIdp, check: string, checks: Checks): boolean {
  if (!URL.canParse(url)) {
    checks.fail(check, 'is no URL', 'write the issuer as in the iss of its tokens')
    return false
  }
  const { protocol, hostname } = new URL(url)
  if (protocol === 'https:') {
    checks.ok(check, url)
    return true
  }
  if (protocol === 'http:' && allowHttp) {
    checks.warn(check, `${url}, over plain http`, 'use https: only the dev profile takes this')
    return true
  }
  const what = `${protocol} is not accepted for ${hostname}`
  checks.fail(check, what, 'use https: keys that anyone on the way can change verify nothing')
  return false
}

function checkDiscovery(
  { document, fault }: Answered,
  issuer: string,
  algorithms: readonly AlgorithmName[],
  checks: Checks,
): Metadata | undefined {
  if (fault) {
    checks.fail('discovery', fault.what, fault.mend)
    return undefined
  }
  let metadata: Metadata
  try {
    metadata = checkMetadata(document, issuer)
  } catch (error) {
    const named = isJsonObject(document) ? document['issuer'] : undefined
    const isOther = typeof named === 'string' && named !== issuer
    checks.fail(
      'discovery',
      error instanceof Error ? error.message : 'is not usable',
      isOther
        ? `configure the issuer exactly as it names itself: ${named}`
        : 'see OpenID Connect Discovery 1.0 §3: issuer and jwks_uri are required, the latter by https',
    )
    return undefined
  }
  checks.ok('discovery', 'names the issuer exactly, and where its keys are')
  const offered = metadata.id_token_signing_alg_values_supported
  if (offered === undefined) {
    const what = 'id_token_signing_alg_values_supported is missing'
    checks.warn('discovery.algorithms', what, 'publish it; keys should then name their alg')
    return metadata
  }
  const shared = algorithms.filter((alg) => offered.includes(alg))
  if (shared.length > 0)
    checks.ok('discovery.algorithms', `${shared.join(', ')} in common, of ${offered.join(', ')}`)
  else
    checks.warn(
      'discovery.algorithms',
      `the issuer offers ${offered.join(', ')}; accepted are ${algorithms.join(', ')}`,
      'add what it signs with to idps.<name>.algorithms, if its access tokens are signed so too',
    )
  return metadata
}

async function checkFetchedSet(
  terminal: Pick<Terminal, 'fetch'>,
  uri: string,
  idp: CheckedIdp,
  metadata: Metadata | undefined,
  checks: Checks,
  patience = MOST_MILLISECONDS,
): Promise<AdmittedKeys | undefined> {
  const answered = await fetchDocument(terminal, uri)
  checkTimes('jwks', answered, idp, checks, patience)
  if (answered.fault) {
    checks.fail('jwks', answered.fault.what, answered.fault.mend)
    return undefined
  }
  const admitted = checkSet(answered.document, idp.algorithms, metadata, checks)
  // A second look: replicas of an IdP that publish different sets are met by every other token.
  const again = await fetchDocument(terminal, uri)
  const isSame = kidsOf(again.document) === kidsOf(answered.document)
  if (isSame) checks.ok('jwks.stable', 'two readings gave the same keys')
  else
    checks.warn(
      'jwks.stable',
      'two readings in a row gave different keys',
      'let all replicas of the IdP publish one set, each key before any of them signs with it',
    )
  return admitted
}

function kidsOf(document: unknown): string {
  const kids = keysOf(document).map((key) => (isJsonObject(key) ? String(key['kid']) : ''))
  return JSON.stringify(kids.toSorted())
}

function keysOf(document: unknown): readonly unknown[] {
  return isJsonObject(document) && Array.isArray(document['keys']) ? document['keys'] : []
}

/** The key set and every key in it, as the key gate judges them. */
function checkSet(
  document: unknown,
  algorithms: readonly AlgorithmName[],
  metadata: Metadata | undefined,
  checks: Checks,
): AdmittedKeys | undefined {
  let admitted: AdmittedKeys
  try {
    admitted = admitKeys(document, advertisedFirst(metadata, algorithms))
  } catch (error) {
    const what = error instanceof Error ? error.message : 'not a JWK Set'
    checks.fail('jwks', what, 'publish a JWK Set of at most 100 keys (RFC 7517 §5)')
    return undefined
  }
  const listed = keysOf(document)
  for (const { index, kid, reason } of admitted.rejections) {
    const entry = listed[index]
    const name = `jwks.keys[${index}]`
    const what = `${kid ?? '(no kid)'} is left out: ${reason}`
    if (reason === 'use is not sig') checks.ok(name, `${what}; it is not meant for signatures`)
    else if (isJsonObject(entry) && ('d' in entry || 'k' in entry))
      checks.fail(name, what, 'this key is known to everybody now: replace it, publish public keys')
    else checks.warn(name, what, 'nothing, unless tokens are signed by it; then replace the key')
  }
  for (const { kid, alg } of admitted.keys) {
    const entry = listed.find((one) => isJsonObject(one) && one['kid'] === kid)
    if (kid === undefined)
      checks.warn('jwks.keys', `a key for ${alg} has no kid`, 'name it: tokens must name their key')
    else if (isJsonObject(entry) && entry['alg'] === undefined)
      checks.warn(
        'jwks.keys',
        `${kid} names no alg; it is taken for ${alg} and nothing else`,
        'publish alg with the key, or order idps.<name>.algorithms so that the right one comes first',
      )
    else checks.ok('jwks.keys', `${kid} verifies ${alg}`)
  }
  if (admitted.keys.some(({ kid }) => kid !== undefined)) return admitted
  checks.fail(
    'jwks',
    'no key can be used',
    'publish a public signature key with a kid, for an algorithm that is accepted',
  )
  return undefined
}

/** What the headers say, and how long it took. */
function checkTimes(
  document: 'discovery' | 'jwks',
  { maxAgeSeconds, aheadMilliseconds, milliseconds }: Answered,
  { skewSeconds }: CheckedIdp,
  checks: Checks,
  patience = MOST_MILLISECONDS,
): void {
  const took = `answered in ${Math.round(milliseconds)} ms`
  if (milliseconds <= Math.min(GOOD_MILLISECONDS, patience)) checks.ok(`${document}.latency`, took)
  else if (milliseconds <= patience)
    checks.warn(`${document}.latency`, took, 'faster is better: first tokens wait for it')
  else
    checks.fail(
      `${document}.latency`,
      took,
      'discovery and keys together are given up after 2 s; put it nearer, or behind a cache',
    )
  checkCaching(document, maxAgeSeconds, checks)
  if (document === 'jwks') return
  if (aheadMilliseconds === undefined) {
    checks.warn('clock', 'its answers have no Date', 'send it (RFC 9110 §6.6.1): clocks show in it')
    return
  }
  const seconds = Math.round(Math.abs(aheadMilliseconds) / 100) / 10
  const direction = aheadMilliseconds > 0 ? 'ahead of' : 'behind'
  if (seconds < 2) checks.ok('clock', 'within 2 s of ours')
  else if (seconds < skewSeconds)
    checks.warn('clock', `${seconds} s ${direction} ours`, 'let both follow the same time (NTP)')
  else
    checks.fail(
      'clock',
      `${seconds} s ${direction} ours; limits.skew is ${skewSeconds} s`,
      'let both follow the same time (NTP): tokens would be expired, or not yet valid',
    )
}

function checkCaching(
  document: 'discovery' | 'jwks',
  seconds: number | undefined,
  checks: Checks,
): void {
  const check = `${document}.caching`
  const mend = 'send Cache-Control: max-age of 60 s to 24 h; keys: no longer than before a new key'
  if (seconds === undefined) checks.warn(check, 'says nothing; kept for 10 min', mend)
  else if (seconds < 60) checks.warn(check, `max-age=${seconds}; kept for 60 s`, mend)
  else if (seconds > 86_400) checks.warn(check, `max-age=${seconds}; kept for 24 h`, mend)
  else checks.ok(check, `max-age=${seconds}`)
}
