/**
 * The entitlement API of the bench: everybody has the same few roles, at once. rolemint caches them for an hour, so
 * it is asked only while warming up.
 */
import { createServer } from 'node:http'
import { BENCH_SOURCE_ROLES } from './vocabulary.ts'

const items = BENCH_SOURCE_ROLES.map((role) => ({ role }))
const server = createServer((request, response) => {
  const user = decodeURIComponent(request.url?.split('/')[2] ?? '')
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ user, items, next: null }))
})
server.listen(Number(process.argv[2]), '127.0.0.1', () => process.send?.('ready'))
