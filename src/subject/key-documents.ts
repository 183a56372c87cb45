import { isJsonObject } from '../lib/strict-json.ts'
import { type AdmittedKeys, admitKeys } from './key-gate.ts'
import type { JsonDocuments } from './keys.ts'
import type { AlgorithmName, KeySource } from './options.ts'

/** A key source that is asked over the network. */
export type RemoteKeySource = Exclude<KeySource, { kind: 'inline' }>

/** What a key source says cannot be used. The message names the rule and holds nothing of the document. */
export class KeySourceFault extends Error {
  override readonly name = 'KeySourceFault'
}

/** The members of a discovery document that keys need (OpenID Connect Discovery 1.0 §3). */
export interface Metadata {
  readonly issuer: string
  readonly jwks_uri: string
  readonly id_token_signing_alg_values_supported: readonly string[] | undefined
}

/** A document that was found good, and how long its source lets it be reused. */
export interface Read<T> {
  readonly value: T
  readonly maxAgeSeconds: number | undefined
}

/** Kind and address: what a source is called on disk and in the log. */
export function placeOf(source: RemoteKeySource): string {
  return `${source.kind} ${source.kind === 'discovery' ? source.issuer : source.uri}`
}

/** Reads the discovery document of an issuer. @throws {KeySourceFault} as {@link checkMetadata}; else what the fetch threw. */
export async function readMetadata(
  documents: JsonDocuments,
  issuer: string,
  signal: AbortSignal,
): Promise<Read<Metadata>> {
  const { document, maxAgeSeconds } = await documents.fetch(discoveryUrl(issuer), signal)
  return { value: checkMetadata(document, issuer), maxAgeSeconds }
}

/** Where an issuer's discovery document is: a slash at its end is left out before the suffix (OpenID Connect Discovery 1.0 §4). */
export function discoveryUrl(issuer: string): string {
  const base = issuer.endsWith('/') ? issuer.slice(0, -1) : issuer
  return `${base}/.well-known/openid-configuration`
}

/**
 * The useful part of a discovery document, from the network or from disk.
 * @throws {KeySourceFault} when it speaks for another issuer or names no place for keys that we would ask.
 */
export function checkMetadata(document: unknown, issuer: string): Metadata {
  if (!isJsonObject(document)) throw new KeySourceFault('the discovery document is no JSON object')
  // §4.3: a document that speaks for another issuer must not hand us keys (mix-up).
  if (document['issuer'] !== issuer)
    throw new KeySourceFault('the discovery document names another issuer')
  const { jwks_uri: uri, id_token_signing_alg_values_supported: algorithms } = document
  if (typeof uri !== 'string' || !URL.canParse(uri))
    throw new KeySourceFault('the discovery document has no jwks_uri')
  const { protocol, username, password } = new URL(uri)
  const allowed = protocol === 'https:' || (protocol === 'http:' && issuer.startsWith('http://'))
  if (!allowed || username !== '' || password !== '')
    throw new KeySourceFault('the jwks_uri of the discovery document is no plain https URL')
  const named = Array.isArray(algorithms)
    ? algorithms.filter((name): name is string => typeof name === 'string')
    : undefined
  return { issuer, jwks_uri: uri, id_token_signing_alg_values_supported: named }
}

/**
 * What is usable of a key set, after the same gate wherever it came from: network, background or disk.
 * @throws {KeySourceFault} when it is no key set, or an empty one.
 */
export function readableKeys(
  jwks: unknown,
  algorithms: readonly AlgorithmName[],
  metadata: Metadata | undefined,
): AdmittedKeys {
  let admitted: AdmittedKeys
  try {
    admitted = admitKeys(jwks, advertisedFirst(metadata, algorithms))
  } catch (error) {
    throw new KeySourceFault(error instanceof Error ? error.message : 'not a JWK Set')
  }
  if (admitted.keys.length + admitted.rejections.length === 0)
    throw new KeySourceFault('the key set is empty')
  return admitted
}

/** Whether a token can find a key in it: a key without kid is none, since a token names its key, always. */
export function isUsable({ keys }: AdmittedKeys): boolean {
  return keys.some(({ kid }) => kid !== undefined)
}

/**
 * Our allow-list with what the issuer says it signs with first, so that a key without `alg` is pinned to what its issuer uses: many
 * publish RSA keys without one, which fit RS256 and PS256 alike. The list itself neither grows nor shrinks.
 */
export function advertisedFirst(
  metadata: Metadata | undefined,
  algorithms: readonly AlgorithmName[],
): readonly AlgorithmName[] {
  const named = metadata?.id_token_signing_alg_values_supported
  if (named === undefined) return algorithms
  const rank = (alg: AlgorithmName): number => (named.includes(alg) ? 0 : 1)
  return algorithms.toSorted((one, other) => rank(one) - rank(other))
}
