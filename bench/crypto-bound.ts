/**
 * How fast this core can verify and sign at all: the bound that every exchange rate is compared with. Run as a
 * process of its own, on the core the servers use; answers on IPC.
 */
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { median } from './spread.ts'

/** CPU microseconds per operation, ES256 with DER signatures and keys parsed beforehand. */
export interface CryptoBound {
  readonly signMicros: number
  readonly verifyMicros: number
}

const INPUT_BYTES = 800
const WINDOWS = 7

/** Measures in a tight loop; CPU time, so that another process on the core does not count. Takes about `seconds`. */
export function measureCryptoBound(seconds: number): CryptoBound {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const input = Buffer.alloc(INPUT_BYTES, 'x')
  const signature = sign('sha256', input, privateKey)
  const windowMicros = (seconds * 1e6) / (2 * (WINDOWS + 1))
  return {
    signMicros: costOf(() => sign('sha256', input, privateKey), windowMicros),
    verifyMicros: costOf(() => {
      if (!verify('sha256', input, publicKey, signature)) throw new Error('a signature is wrong')
    }, windowMicros),
  }
}

/** Median over windows; the first window warms up. */
function costOf(operation: () => unknown, windowMicros: number): number {
  const costs: number[] = []
  for (let window = 0; window <= WINDOWS; window += 1) {
    const start = process.cpuUsage()
    let count = 0
    let used = 0
    while (used < windowMicros) {
      for (let repeat = 0; repeat < 50; repeat += 1) operation()
      count += 50
      const { user, system } = process.cpuUsage(start)
      used = user + system
    }
    if (window > 0) costs.push(used / count)
  }
  return median(costs)
}

if (import.meta.main) {
  process.on('message', (seconds: unknown) => {
    process.send?.(measureCryptoBound(Number(seconds)))
  })
}
