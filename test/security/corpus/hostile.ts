/** HTTP servers on loopback that count who calls them: places of key sets, good and bad, and an attacker who waits to be asked. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { jwksOf, newTestKey, type TestKey } from '../../fakes/jwt.ts'

/** A server that remembers every request target. */
export interface CountingServer {
  readonly origin: string
  readonly requests: string[]
  close(): Promise<void>
}

/** Starts a server on a free port of loopback. */
export async function startCountingServer(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<CountingServer> {
  const requests: string[] = []
  const server = createServer((request, response) => {
    requests.push(request.url ?? '')
    answer(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      return closed
    },
  }
}

/** One issuer whose key set must not be used; its tokens are signed by `signer`. */
export interface BadSet {
  readonly name: string
  readonly signer: TestKey
  readonly jwks: unknown
}

/** The names of {@link badSets}, for those who list cases before any key is made. */
export const BAD_SETS = [
  'duplicate-kid',
  'mixed-with-oct',
  'private-key',
  'rsa-1024',
  'e-1',
  'e-3',
  'off-curve',
  'use-enc',
  'key-ops-encrypt',
  'key-ops-mixed',
  'alg-of-another',
  'small-order',
] as const

/** Key sets of row 30: in each the key that signs is one that no sound verifier uses. */
export function badSets(): readonly BadSet[] {
  const key = newTestKey('ES256', 'k')
  const rsa = newTestKey('RS256', 'k')
  const weak = newTestKey('RS256', 'k', 1024)
  const { publicJwk } = key
  const ed = newTestKey('EdDSA', 'k')
  const identity = Buffer.from(`01${'00'.repeat(31)}`, 'hex').toString('base64url')
  const sets: readonly (readonly [(typeof BAD_SETS)[number], TestKey, readonly unknown[]])[] = [
    ['duplicate-kid', key, [publicJwk, newTestKey('ES256', 'k').publicJwk]],
    ['mixed-with-oct', key, [{ kty: 'oct', kid: 'k', k: 'AA', alg: 'HS256' }, publicJwk]],
    ['private-key', key, [{ ...key.privateKey.export({ format: 'jwk' }), kid: 'k' }]],
    ['rsa-1024', weak, [weak.publicJwk]],
    ['e-1', rsa, [{ ...rsa.publicJwk, e: 'AQ' }]],
    ['e-3', rsa, [{ ...rsa.publicJwk, e: 'Aw' }]],
    ['off-curve', key, [{ ...publicJwk, x: publicJwk.y }]],
    ['use-enc', key, [{ ...publicJwk, use: 'enc' }]],
    ['key-ops-encrypt', key, [{ ...publicJwk, key_ops: ['encrypt'] }]],
    ['key-ops-mixed', key, [{ ...publicJwk, key_ops: ['verify', 'wrapKey'] }]],
    ['alg-of-another', key, [{ ...publicJwk, alg: 'ES384' }]],
    ['small-order', ed, [{ kty: 'OKP', crv: 'Ed25519', kid: 'k', alg: 'EdDSA', x: identity }]],
  ]
  return sets.map(([name, signer, keys]) => ({ name, signer, jwks: { keys } }))
}

/** Ways in which a place of keys misbehaves (row 31), by the last part of its path. */
export const HOSTILE_PLACES = ['huge', 'redirect', 'html', 'gzip', 'status', 'cut', 'slow'] as const

/** A server of key sets: `/sets/NAME` as given, `/hostile/HOW` as its name says, anything else the good set. */
export function startKeyServer(
  good: readonly TestKey[],
  sets: readonly BadSet[],
  attackerOrigin: () => string,
): Promise<CountingServer> {
  const whole = JSON.stringify(jwksOf(...good))
  return startCountingServer((request, response) => {
    const [, kind, name] = (request.url ?? '').split('/')
    const json = (body: string) =>
      void response.writeHead(200, { 'content-type': 'application/json' }).end(body)
    if (kind === 'sets') json(JSON.stringify(sets.find((set) => set.name === name)?.jwks ?? {}))
    else if (kind === 'hostile') misbehave(name ?? '', whole, response, attackerOrigin)
    else json(whole)
  })
}

function misbehave(
  how: string,
  body: string,
  response: ServerResponse,
  attackerOrigin: () => string,
): void {
  const type = { 'content-type': 'application/json' }
  switch (how) {
    case 'huge': {
      // A hundred megabytes are promised; who reads more than half a megabyte of them has lost.
      response.writeHead(200, { ...type, 'content-length': String(100 * 1024 * 1024) })
      const block = Buffer.alloc(64 * 1024, ' ')
      const write = (): void => {
        while (!response.destroyed && response.write(block));
        if (!response.destroyed) response.once('drain', write)
      }
      response.on('error', () => {})
      write()
      return
    }
    case 'redirect':
      response.writeHead(302, { location: `${attackerOrigin()}/jwks` }).end()
      return
    case 'html':
      response.writeHead(200, { 'content-type': 'text/html' }).end(body)
      return
    case 'gzip':
      response.writeHead(200, { ...type, 'content-encoding': 'gzip' }).end(gzipSync(body))
      return
    case 'status':
      response.writeHead(500, type).end(body)
      return
    case 'cut':
      response.writeHead(200, type).end(body.slice(0, -5))
      return
    default:
      // `slow`: headers at once, the body never.
      response.writeHead(200, type).flushHeaders()
  }
}
