/**
 * The control for latencies: a fastify server that reads a form and answers with as much JSON as an exchange does,
 * and does nothing else. What it shows at a given rate is what the machine and the generator cost.
 */
import fastify from 'fastify'

const BODY = JSON.stringify({ access_token: 'x'.repeat(1000), token_type: 'Bearer' })

const server = fastify({ logger: false })
server.addContentTypeParser(
  'application/x-www-form-urlencoded',
  { parseAs: 'string' },
  (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(String(body)))),
)
server.post('/token', async (_request, reply) => reply.type('application/json').send(BODY))
await server.listen({ host: '127.0.0.1', port: Number(process.argv[2]) })
process.send?.('ready')
