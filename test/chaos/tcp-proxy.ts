/**
 * A TCP proxy that breaks connections in every way a network or a sick server does. It knows no protocol, so it stands before HTTP,
 * PostgreSQL, Valkey and OpenBao alike; `test/fakes/fault-proxy.ts` is the one that speaks HTTP.
 */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTcpLane, type TcpLane } from './tcp-proxy-lane.ts'

/** To the server, or back to the client. */
export type TcpDirection = 'up' | 'down'

/** What is wrong. Every fault also strikes connections that are open when it is set. */
export type TcpFault =
  | { readonly kind: 'none' }
  /** Every piece arrives so much later; the order stays. */
  | { readonly kind: 'latency'; readonly milliseconds: number; readonly jitter?: number }
  /** Connections are refused; open ones are reset. */
  | { readonly kind: 'down' }
  /** Connections are taken and reset at their first byte; open ones are reset at once. */
  | { readonly kind: 'reset' }
  /** Connections are taken and everything is swallowed. */
  | { readonly kind: 'blackhole' }
  /** Pieces of at most so many bytes, with a pause before each. */
  | { readonly kind: 'slicer'; readonly bytes: number; readonly milliseconds: number }
  | { readonly kind: 'bandwidth'; readonly bytesPerSecond: number }
  /** The connection ends (by FIN, or by RST) once so many bytes have passed in this direction since it was struck. */
  | {
      readonly kind: 'cut'
      readonly bytes: number
      readonly direction: TcpDirection
      readonly reset?: boolean
    }
  /** The first piece back to the client loses its last bytes; then comes FIN, as if that had been all. */
  | { readonly kind: 'truncated'; readonly lose: number }
  /** One byte of the stream, counted since the connection was struck, has all its bits turned. */
  | { readonly kind: 'corrupt'; readonly offset: number; readonly direction: TcpDirection }
  /** Whatever comes back comes twice. */
  | { readonly kind: 'duplicate' }
  /** The server is never asked: this is the answer to every piece from the client. `end`: with FIN after it. */
  | {
      readonly kind: 'reply'
      readonly answer: (request: Buffer, connection: number) => Buffer
      readonly end?: boolean
    }
  /** Up for so long, then down for so long, and so on; begins with down. */
  | {
      readonly kind: 'flapping'
      readonly upMilliseconds: number
      readonly downMilliseconds: number
      readonly down?: TcpFault
    }

/** What passed. */
export interface TcpCounters {
  /** Connections taken since the start. */
  readonly accepted: number
  readonly open: number
  readonly bytesUp: number
  readonly bytesDown: number
  /** Times the present fault struck: connections reset, answers made up, pieces delayed, swallowed, cut or changed. */
  readonly struck: number
}

export interface TcpProxy {
  readonly port: number
  counters(): TcpCounters
  /** Resolves when the fault holds, also for the connections that are open. */
  set(fault: TcpFault): Promise<void>
  close(): Promise<void>
}

const NONE: TcpFault = { kind: 'none' }
const RELISTEN_MILLISECONDS = 30_000
/** Below where kernels take the ports of outgoing connections from: while we refuse, the port is nobody's. */
const PORTS = { from: 15_000, to: 30_000 }

/** What a lane needs of the proxy. */
export interface TcpHouse {
  readonly fault: TcpFault
  struck(): void
  passed(direction: TcpDirection, bytes: number): void
}

/** One client's connection and ours to the server; undefined when the server is not to be asked. */
interface Pair {
  readonly client: Socket
  readonly server: Socket | undefined
  readonly lanes: readonly TcpLane[]
}

/** Starts a proxy before `127.0.0.1:target`, or another host. */
export async function startTcpProxy(target: number, host = '127.0.0.1'): Promise<TcpProxy> {
  const pairs = new Set<Pair>()
  const count = { accepted: 0, bytesUp: 0, bytesDown: 0, struck: 0 }
  let fault = NONE
  let flaps: NodeJS.Timeout | undefined
  const house: TcpHouse = {
    get fault() {
      return fault
    },
    struck: () => void (count.struck += 1),
    passed(direction, bytes) {
      if (direction === 'up') count.bytesUp += bytes
      else count.bytesDown += bytes
    },
  }

  function take(client: Socket): void {
    count.accepted += 1
    // A server that is not asked is not connected to either: it could notice.
    const lonely = ['blackhole', 'reply', 'reset'].includes(fault.kind)
    const server = lonely ? undefined : connect({ port: target, host, allowHalfOpen: true })
    const number = count.accepted
    const lanes = [createTcpLane({ house, direction: 'up', number, from: client, to: server })]
    if (server)
      lanes.push(createTcpLane({ house, direction: 'down', number, from: server, to: client }))
    const pair: Pair = { client, server, lanes }
    pairs.add(pair)
    const over = () => {
      pairs.delete(pair)
      drop(pair)
    }
    for (const socket of [client, server]) {
      socket?.setNoDelay(true)
      // The other side learns of a reset by a reset, and of a polite end by the lane.
      socket?.on('error', over)
      socket?.on('close', () => {
        if (client.destroyed || server?.destroyed) over()
      })
    }
  }

  const drop = ({ client, server }: Pair) => {
    for (const socket of [client, server]) if (socket && !socket.destroyed) socket.resetAndDestroy()
  }
  const dropAll = (which: (pair: Pair) => boolean) => {
    for (const pair of [...pairs].filter(which)) {
      pairs.delete(pair)
      drop(pair)
      house.struck()
    }
  }

  let listener: Server | undefined
  const listen = async (port: number): Promise<number> => {
    const fresh = createServer({ allowHalfOpen: true }, take)
    fresh.listen(port, '127.0.0.1')
    await once(fresh, 'listening')
    listener = fresh
    return port
  }
  const port = await firstFree(listen)

  /** Listens or refuses, and strikes what is open. */
  async function hold(next: TcpFault): Promise<void> {
    // What was partly swallowed, made up or cut can never be whole again: a network would end it too.
    const before = fault
    fault = next
    dropAll(({ lanes }) => lanes.some((lane) => lane.spoilt))
    for (const { lanes } of pairs) for (const lane of lanes) lane.renew()
    if (next.kind === 'down') {
      listener?.close()
      listener = undefined
    } else if (listener === undefined) await again(() => listen(port))
    if (next.kind === 'down' || next.kind === 'reset') dropAll(() => true)
    // A connection without a server can do nothing else but what it was made for.
    if (next.kind !== before.kind) dropAll(({ server }) => server === undefined)
  }

  // One change after the other: flapping must not come between the two halves of another.
  let changes: Promise<void> = Promise.resolve()
  const change = (next: TcpFault) => {
    const held = async (before: Promise<void>) => {
      await before
      await hold(next)
    }
    changes = held(changes)
    return changes
  }

  return {
    port,
    counters: () => ({ ...count, open: pairs.size }),
    async set(next) {
      clearTimeout(flaps)
      flaps = undefined
      await changes
      count.struck = 0
      if (next.kind !== 'flapping') return change(next)
      const { upMilliseconds, downMilliseconds, down = { kind: 'down' } } = next
      const flap = (up: boolean) => {
        flaps = setTimeout(
          () => {
            void change(up ? NONE : down)
            flap(!up)
          },
          up ? downMilliseconds : upMilliseconds,
        )
      }
      await change(down)
      flap(true)
    },
    async close() {
      clearTimeout(flaps)
      await changes
      dropAll(() => true)
      listener?.close()
    },
  }
}

/** Listens on some port of the range; a port in use means another try. */
async function firstFree(listen: (port: number) => Promise<number>): Promise<number> {
  for (let tries = 0; ; tries += 1) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from))
    try {
      return await listen(port)
    } catch (error) {
      if (tries === 50) throw error
    }
  }
}

/** Until it succeeds: a moment after it was given up, the port may not be free yet. */
async function again(work: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + RELISTEN_MILLISECONDS
  for (;;) {
    try {
      await work()
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
      await sleep(20)
    }
  }
}
