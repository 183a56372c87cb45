/**
 * `node test/chaos/matrix/upstream.ts idp|entitlement PORT STATE`: a small IdP, or a small entitlement API, as a process of its own, so that
 * it can be killed and stopped. STATE is a JSON file, read at every request: a JWK Set, or roles by user.
 */
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A path is answered by its JSON, or by undefined: not found. */
type Answers = (path: string, query: URLSearchParams, request: IncomingMessage) => unknown

const PAGE_SIZE = 2

/** Any number of issuers, `/{name}`, all with the same keys. Which address it has, it learns from the request: a proxy stands before it. */
function idp(state: () => object): Answers {
  return (path, _query, { headers }) => {
    const [, name = '', rest = ''] = /^\/([\w-]+)\/(.+)$/.exec(path) ?? []
    const issuer = `http://${headers.host}/${name}`
    if (rest === 'jwks') return state()
    if (rest !== '.well-known/openid-configuration') return undefined
    return {
      issuer,
      jwks_uri: `${issuer}/jwks`,
      id_token_signing_alg_values_supported: ['ES256'],
    }
  }
}

/** GET `/users/{user}/roles` in pages of two. A user whose name begins with `new-` has the roles of `new`. */
function entitlement(state: () => object): Answers {
  return (path, query) => {
    const encoded = /^\/users\/([^/]+)\/roles$/.exec(path)?.[1]
    if (encoded === undefined) return undefined
    const user = decodeURIComponent(encoded)
    const known = Object.entries(state()).find(
      ([name]) => name === user || (name === 'new' && user.startsWith('new-')),
    )
    const roles: unknown = known?.[1]
    if (!Array.isArray(roles)) return undefined
    const page = Number(query.get('page') ?? '1')
    return {
      user,
      items: roles.slice((page - 1) * PAGE_SIZE, page * PAGE_SIZE).map((role) => ({ role })),
      next: page * PAGE_SIZE < roles.length ? `?page=${page + 1}` : null,
    }
  }
}

const [kind = '', port = '0', file = ''] = process.argv.slice(2)
const readState = () => Object(JSON.parse(readFileSync(file, 'utf8')))
const answers = kind === 'idp' ? idp(readState) : entitlement(readState)

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://upstream.invalid')
  const answer = answers(pathname, searchParams, request)
  const headers = { 'content-type': 'application/json', 'cache-control': 'max-age=300' }
  response.writeHead(answer === undefined ? 404 : 200, headers)
  response.end(JSON.stringify(answer ?? { error: 'not found' }))
})
server.listen(Number(port), '127.0.0.1', () => {
  process.stderr.write(`${kind} listens on ${(server.address() as AddressInfo).port}\n`)
})
