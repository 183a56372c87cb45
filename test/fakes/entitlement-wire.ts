/** An entitlement API that is only bytes on a wire: what a look-up gets can be cut, changed or crumbled at an exact place. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setImmediate as soon } from 'node:timers/promises'

/** How the answers are written. */
export interface WirePlan {
  /** How the end of a body is marked. */
  readonly framing: 'length' | 'chunked' | 'close'
  /** Whether all pages may come over one connection; never with `close`. */
  readonly keepAlive: boolean
  /** Bytes written in all, over all pages, before the connection ends. */
  readonly cutAt?: number
  /** How it ends then: politely, which looks like the end of the answer, or not. */
  readonly ending?: 'fin' | 'reset'
  /** This byte, counted over all pages, comes with its lowest bit turned. */
  readonly corruptAt?: number
  /** Every byte in a packet of its own. */
  readonly crumbled?: boolean
  /** Sends `Content-Digest` (RFC 9530). */
  readonly digest?: boolean
  /** Only the first connection is cut; after that everything comes whole. */
  readonly heals?: boolean
  /** Roles in place of the usual ones. */
  readonly roles?: readonly string[]
}

/** A running API: GET `/users/{user}/roles` gives the same roles to everybody, two a page. */
export interface EntitlementWire {
  /** Address template for a source. */
  readonly url: string
  /** How this user is answered from now on, or whoever has no plan of their own. Starts counting bytes anew. */
  plan(next: WirePlan, user?: string): void
  /** Bytes written under that plan, those that a cut took away included. */
  written(user?: string): number
  connections(): number
  close(): Promise<void>
}

interface Running {
  plan: WirePlan
  written: number
}

const PAGE_SIZE = 2

/** Starts it on a free port. */
export async function startEntitlementWire(roles: readonly string[]): Promise<EntitlementWire> {
  const usual: Running = { plan: { framing: 'length', keepAlive: true }, written: 0 }
  const own = new Map<string, Running>()
  let connections = 0
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    connections += 1
    open.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    socket.on('close', () => open.delete(socket))
    let asked = ''
    socket.on('data', (chunk) => {
      asked += chunk.toString('latin1')
      const end = asked.indexOf('\r\n\r\n')
      if (end === -1) return
      const target = asked.split(' ')[1] ?? ''
      asked = asked.slice(end + 4)
      void answer(socket, target)
    })
  })

  async function answer(socket: Socket, target: string): Promise<void> {
    const user = decodeURIComponent(target.split(/[/?]/)[2] ?? '')
    const running = own.get(user) ?? usual
    const now = running.plan
    const whole = messageOf(now, pageOf(user, target, now.roles ?? roles))
    const from = running.written
    running.written += whole.length
    const { cutAt = Number.POSITIVE_INFINITY, corruptAt = -1 } = now
    const { cutAt: _cutAt, ...healed } = now
    if (now.heals && running.written > cutAt) running.plan = healed
    const at = corruptAt - from
    const byte = whole[at]
    if (byte !== undefined) whole[at] = byte ^ 1
    const sent = whole.subarray(0, Math.max(0, cutAt - from))
    if (now.crumbled) {
      for (const each of sent) {
        socket.write(Buffer.of(each))
        await soon()
      }
    } else socket.write(sent)
    if (sent.length < whole.length) {
      if (now.ending === 'reset') socket.resetAndDestroy()
      else socket.end()
    } else if (!staysOpen(now)) socket.end()
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/users/{user}/roles`,
    plan(next, user) {
      if (user !== undefined) own.set(user, { plan: next, written: 0 })
      else Object.assign(usual, { plan: next, written: 0 })
    },
    written: (user) => (user === undefined ? usual : own.get(user))?.written ?? 0,
    connections: () => connections,
    async close() {
      for (const socket of open) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

const staysOpen = ({ framing, keepAlive }: WirePlan): boolean => keepAlive && framing !== 'close'

function pageOf(user: string, target: string, roles: readonly string[]): Buffer {
  const { searchParams } = new URL(target, 'http://wire.invalid')
  const number = Number(searchParams.get('page') ?? '1')
  const end = number * PAGE_SIZE
  const page = {
    user,
    items: roles.slice(end - PAGE_SIZE, end).map((role) => ({ role })),
    next: end < roles.length ? `?page=${number + 1}` : null,
  }
  return Buffer.from(JSON.stringify(page))
}

function messageOf(plan: WirePlan, body: Buffer): Buffer {
  const framed =
    plan.framing === 'chunked'
      ? // Two chunks, so that a cut can fall between them.
        Buffer.concat([...[body.subarray(0, 9), body.subarray(9)].map(chunkOf), LAST_CHUNK])
      : body
  const framing = {
    length: `content-length: ${body.length}\r\n`,
    chunked: 'transfer-encoding: chunked\r\n',
    close: '',
  }[plan.framing]
  const digest = createHash('sha256').update(body).digest('base64')
  const head = [
    'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n',
    framing,
    plan.digest ? `content-digest: sha-256=:${digest}:\r\n` : '',
    staysOpen(plan) ? '' : 'connection: close\r\n',
    '\r\n',
  ].join('')
  return Buffer.concat([Buffer.from(head), framed])
}

const LAST_CHUNK = Buffer.from('0\r\n\r\n')

function chunkOf(part: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')])
}
