/** One direction of one proxied connection: bytes come in, the present fault decides what goes out, and when. */
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TcpDirection, TcpFault, TcpHouse } from './tcp-proxy.ts'

export interface TcpLane {
  /** True once bytes were swallowed, changed, made up or cut: the connection must not outlive the fault. */
  readonly spoilt: boolean
  /** The fault was changed: counts for the new one begin here. */
  renew(): void
}

interface LaneParts {
  readonly house: TcpHouse
  readonly direction: TcpDirection
  /** Of the connection. */
  readonly number: number
  readonly from: Socket
  /** Undefined when there is no server behind: then nothing can go on. */
  readonly to: Socket | undefined
}

/** Bytes on their way through a slow lane; beyond it the sender has to wait, as with a full socket. */
const MOST_UNDER_WAY = 1024 * 1024

/** Carries what comes `from` one socket `to` the other, for as long as both live. */
export function createTcpLane(parts: LaneParts): TcpLane {
  const { house, from } = parts
  const state = { spoilt: false, passed: 0, cut: false }
  let underWay = 0
  let tail: Promise<void> = Promise.resolve()
  const queue = (bytes: number, work: () => Promise<void>) => {
    underWay += bytes
    if (underWay > MOST_UNDER_WAY) from.pause()
    const after = async (before: Promise<void>) => {
      await before
      await work()
      underWay -= bytes
      if (underWay <= MOST_UNDER_WAY) from.resume()
    }
    tail = after(tail)
  }

  from.on('data', (piece: Buffer) => {
    const due = performance.now() + delayOf(house.fault)
    queue(piece.length, async () => {
      const wait = due - performance.now()
      if (wait > 0) {
        house.struck()
        await sleep(wait)
      }
      await carry(parts, state, piece)
    })
  })
  from.on('end', () => {
    queue(0, () => {
      // Behind a fault that swallows, a goodbye is swallowed too; of a connection that ended by itself nothing is left to hold open.
      if (house.fault.kind === 'blackhole') state.spoilt = true
      else parts.to?.end()
      return Promise.resolve()
    })
  })
  return {
    get spoilt() {
      return state.spoilt
    },
    renew() {
      state.passed = 0
      state.cut = false
    },
  }
}

function delayOf(fault: TcpFault): number {
  if (fault.kind !== 'latency') return 0
  return fault.milliseconds + (fault.jitter ?? 0) * Math.random()
}

type LaneState = { spoilt: boolean; passed: number; cut: boolean }

/** Lets one piece through, or not. */
async function carry(parts: LaneParts, state: LaneState, piece: Buffer): Promise<void> {
  const { house, direction, from, to } = parts
  const { fault } = house
  const hit = () => {
    state.spoilt = true
    house.struck()
  }
  const struckHere = 'direction' in fault && fault.direction === direction
  const before = state.passed
  state.passed += piece.length
  if (state.cut) return
  if (fault.kind === 'blackhole') return hit()
  if (fault.kind === 'reset') {
    hit()
    from.resetAndDestroy()
    return
  }
  if (fault.kind === 'reply') {
    hit()
    if (direction === 'down') return // what was still on its way; the client gets our answers only
    await write(from, fault.answer(piece, parts.number))
    if (fault.end) from.end()
    return
  }
  if (!to) return
  if (fault.kind === 'cut' && struckHere && state.passed >= fault.bytes) {
    hit()
    state.cut = true
    await pass(parts, piece.subarray(0, fault.bytes - before))
    for (const socket of [from, to]) {
      if (fault.reset) socket.resetAndDestroy()
      else socket.end()
    }
    return
  }
  if (fault.kind === 'truncated' && direction === 'down') {
    hit()
    state.cut = true
    await pass(parts, piece.subarray(0, Math.max(0, piece.length - fault.lose)))
    to.end()
    return
  }
  if (
    fault.kind === 'corrupt' &&
    struckHere &&
    before <= fault.offset &&
    fault.offset < state.passed
  ) {
    hit()
    const changed = Buffer.from(piece)
    const place = fault.offset - before
    changed.writeUInt8(changed.readUInt8(place) ^ 0xff, place)
    return pass(parts, changed)
  }
  if (fault.kind === 'duplicate' && direction === 'down') {
    hit()
    return pass(parts, Buffer.concat([piece, piece]))
  }
  return pass(parts, piece)
}

/** Sends a piece on at the pace of the fault. */
async function pass({ house, direction, to }: LaneParts, piece: Buffer): Promise<void> {
  if (!to) return
  const { fault } = house
  house.passed(direction, piece.length)
  if (fault.kind === 'slicer') {
    house.struck()
    for (let at = 0; at < piece.length && !to.destroyed; at += fault.bytes) {
      await sleep(fault.milliseconds)
      await write(to, piece.subarray(at, at + fault.bytes))
    }
    return
  }
  if (fault.kind === 'bandwidth') {
    house.struck()
    await sleep((piece.length / fault.bytesPerSecond) * 1000)
  }
  await write(to, piece)
}

/** Resolves when the other end takes more. */
async function write(to: Socket, piece: Buffer): Promise<void> {
  if (piece.length === 0 || !to.writable) return
  await new Promise<void>((resolve) => {
    const go = () => {
      to.off('drain', go)
      to.off('close', go)
      resolve()
    }
    if (to.write(piece)) resolve()
    else {
      to.once('drain', go)
      to.once('close', go)
    }
  })
}
