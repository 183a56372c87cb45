/** Measures `core-exchange.ts` beside the crypto bound, in one process on the servers' core; answers on IPC. */
import { createCoreExchange } from './core-exchange.ts'
import { measureCryptoBound } from './crypto-bound.ts'
import { median } from './spread.ts'
import { createIdpKey, createMinter } from './subject-tokens.ts'

/** Ratios of bound to cost, one for each pass. */
export interface CoreRatio {
  readonly ratio: number
  readonly exchangeMicros: number
  readonly boundMicros: number
}

const PASSES = 7
const USERS = 1000

/** @throws {Error} when an exchange is refused. */
export async function measureCoreRatio(seconds: number): Promise<CoreRatio> {
  const { privateJwk, publicJwk } = createIdpKey()
  const exchange = await createCoreExchange({ idpPublicJwk: publicJwk })
  const mint = createMinter(privateJwk, Date.now)
  const perPass = Math.ceil((seconds * 1e6) / PASSES / 150)
  const passes: { bound: number; cost: number }[] = []
  for (let pass = 0; pass <= PASSES; pass += 1) {
    const { signMicros, verifyMicros } = measureCryptoBound(seconds / PASSES)
    const tokens = Array.from({ length: perPass }, (_, index) => mint(index % USERS))
    const start = process.cpuUsage()
    for (const token of tokens) await exchange(token)
    const { user, system } = process.cpuUsage(start)
    // The first pass warms up.
    if (pass > 0) passes.push({ bound: signMicros + verifyMicros, cost: (user + system) / perPass })
  }
  return {
    ratio: median(passes.map(({ bound, cost }) => bound / cost)),
    exchangeMicros: median(passes.map(({ cost }) => cost)),
    boundMicros: median(passes.map(({ bound }) => bound)),
  }
}

if (import.meta.main) {
  process.on('message', (seconds: unknown) => {
    measureCoreRatio(Number(seconds)).then(
      (ratio) => process.send?.(ratio),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      },
    )
  })
}
