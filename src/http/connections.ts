/** How many connections there may be, and which of them go when there are too many. */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { networkOf, plainAddress } from '../lib/network.ts'
import { connectionOf, isOneConnection } from './request-scope.ts'

/** Bounds on the number of connections. */
export interface ConnectionBounds {
  readonly most: number
  readonly perAddress: number
  /** Whose connections carry requests of many: those of trusted proxies are bounded by `most` alone. */
  readonly isProxy: (address: string) => boolean
}

/** A connection without a complete request for so long may be closed to make room. A client that means well sends it at once. */
const SLOW_MILLISECONDS = 1000
/** Between two requests for so long: its client can open another. */
const IDLE_MILLISECONDS = 10_000
/** Looked at, from the oldest on, when room is to be made. */
const MOST_CANDIDATES = 1024

/**
 * Keeps the number of connections of a server within bounds, over all and for each peer address.
 *
 * When there are too many, one that brings nothing is closed for the new one: the oldest that has not brought a whole request (slow headers, a slow body,
 * silence), else the oldest idle one. So an attacker who holds connections open loses them to whoever comes after, even from the same address,
 * and one that is in use is never taken away. Only when all are in use is the new one refused.
 */
export function boundConnections(server: Server, bounds: ConnectionBounds): void {
  const all = new Set<Socket>()
  const byAddress = new Map<string, Set<Socket>>()
  const byEnd = new Map<string, Socket>()
  server.on('connection', (socket: Socket) => {
    const key = keyOf(socket, bounds.isProxy)
    const same = key === undefined ? undefined : byAddress.get(key)
    const full = [
      ...(same && same.size >= bounds.perAddress ? [same] : []),
      ...(all.size >= bounds.most ? [all] : []),
    ]
    for (const sockets of full) {
      const victim = leastUseful(sockets)
      if (!victim) {
        socket.destroy()
        return
      }
      victim.destroy()
    }
    connectionOf(socket)
    all.add(socket)
    if (key !== undefined) {
      if (same && same.size > 0) same.add(socket)
      else byAddress.set(key, new Set([socket]))
    }
    const end = endOf(socket)
    byEnd.set(end, socket)
    socket.once('close', () => {
      all.delete(socket)
      byEnd.delete(end)
      if (key === undefined) return
      const rest = byAddress.get(key)
      rest?.delete(socket)
      if (rest?.size === 0) byAddress.delete(key)
    })
  })
  server.on('secureConnection', (front: Socket) => {
    const socket = byEnd.get(endOf(front))
    if (socket) isOneConnection(socket, front)
  })
}

/** Names a connection: no two have the same peer at the same time. */
function endOf({ remoteAddress, remotePort, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localPort}`
}

/** The address that connections are counted under; undefined for those that are not. */
function keyOf(socket: Socket, isProxy: (address: string) => boolean): string | undefined {
  const given = socket.remoteAddress
  // It is gone already.
  if (given === undefined) return undefined
  return isProxy(plainAddress(given.split('%', 1)[0] ?? '')) ? undefined : networkOf(given)
}

function leastUseful(sockets: ReadonlySet<Socket>): Socket | undefined {
  const now = performance.now()
  let idle: Socket | undefined
  let idleSince = now - IDLE_MILLISECONDS
  let looked = 0
  // In the order in which they were opened.
  for (const socket of sockets) {
    if (socket.destroyed) continue
    looked += 1
    if (looked > MOST_CANDIDATES) break
    const { open, answered, last, since } = connectionOf(socket)
    const hasRequest = open > 0 && last?.complete !== false
    if (hasRequest) continue
    if ((open > 0 || answered === 0) && now - since >= SLOW_MILLISECONDS) return socket
    if (open === 0 && since <= idleSince) {
      idle = socket
      idleSince = since
    }
  }
  return idle
}
