import type { JsonWebKey } from 'node:crypto'
import { join } from 'node:path'
import { startChild } from './child.ts'
import type { LoadReply, LoadResult, MintJob, RunJob } from './load.ts'

/** The load generator as the bench uses it. */
export interface Generator {
  /** Makes fresh subject tokens and keeps them under a name, in place of what was there. */
  mint(list: string, count: number): Promise<void>
  /** Runs a load. @throws {Error} when it could not be run, or when any answer was not 200. */
  run(job: Omit<RunJob, 'op'>): Promise<LoadResult>
  stop(): Promise<void>
}

/** Starts the generator's process. */
export function startGenerator(options: {
  readonly folder: string
  readonly core: number | undefined
  readonly users: number
  readonly privateJwk: JsonWebKey
}): Generator {
  const { folder, core, users, privateJwk } = options
  const child = startChild({
    name: 'load',
    folder,
    args: [join(import.meta.dirname, 'load.ts')],
    ...(core === undefined ? {} : { core }),
  })
  const ask = async (job: MintJob | RunJob): Promise<LoadResult | null> => {
    const reply = (await child.ask(job)) as LoadReply
    if ('error' in reply) throw new Error(reply.error)
    return reply.result
  }
  return {
    async mint(list, count) {
      await ask({ op: 'mint', list, count, users, privateJwk })
    },
    async run(job) {
      const result = await ask({ op: 'run', ...job })
      if (!result?.completed) throw new Error('nothing was answered')
      if (result.refused > 0)
        throw new Error(`${result.refused} of ${result.completed} refused: ${result.firstRefusal}`)
      return result
    },
    stop: () => child.stop(),
  }
}
