/** A small IdP over HTTP whose keys are changed by hand, and that counts what it is asked for. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { jwksOf, mint, newTestKey, type TestKey } from '../fakes/jwt.ts'

/** A running IdP. */
export interface IdpServer {
  readonly issuer: string
  /** Publishes exactly these keys from now on. */
  publish(...keys: readonly TestKey[]): void
  /** Requests answered so far. */
  readonly asked: { discovery: number; jwks: number }
  /** A token of this IdP for `orders-web`, signed by `key`, with a `jti` of its own. */
  token(key: TestKey, now: number): string
  close(): Promise<void>
}

/** Starts one on a free port of 127.0.0.1. */
export async function startIdpServer(maxAgeSeconds = 600): Promise<IdpServer> {
  let jwks = jwksOf()
  let tokens = 0
  const asked = { discovery: 0, jwks: 0 }
  const server = createServer((request, response) => {
    const isJwks = request.url === '/jwks'
    asked[isJwks ? 'jwks' : 'discovery'] += 1
    const body = isJwks ? jwks : { issuer, jwks_uri: `${issuer}/jwks` }
    response.setHeader('content-type', 'application/json')
    response.setHeader('cache-control', `max-age=${maxAgeSeconds}`)
    response.end(JSON.stringify(body))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const issuer = `http://127.0.0.1:${address.port}`
  return {
    issuer,
    asked,
    publish: (...keys) => {
      jwks = jwksOf(...keys)
    },
    token(key, now) {
      const iat = Math.floor(now / 1000)
      const payload = {
        iss: issuer,
        sub: 'ada',
        aud: 'rolemint',
        azp: 'orders-web',
        upn: 'ada@acme.example',
        jti: `t${(tokens += 1)}`,
        iat,
        exp: iat + 600,
      }
      return mint({ key, payload })
    },
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

/** ES256 keys, numbered. */
export function keyMaker(): (kid?: string) => TestKey {
  let made = 0
  return (kid) => {
    made += 1
    return newTestKey('ES256', kid ?? `idp-${made}`)
  }
}
