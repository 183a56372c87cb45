import { Session } from 'node:inspector/promises'

/** How often one function ran, by V8's own count. */
interface FunctionCoverage {
  readonly functionName: string
  readonly ranges: readonly { readonly count: number }[]
}

interface Coverage {
  readonly result: readonly {
    readonly url: string
    readonly functions: readonly FunctionCoverage[]
  }[]
}

/** Which functions of which files ran between two moments, in this thread and in every worker thread. */
export interface CoverageTap {
  /** Starts counting from zero. */
  reset(): Promise<void>
  /** Names of the functions that ran since the last reset, by file URL; a nameless function is an empty string. */
  take(): Promise<ReadonlyMap<string, readonly string[]>>
  close(): void
}

type Post = (method: string, params?: object) => Promise<unknown>

interface WorkerEvent {
  readonly params: { readonly sessionId: string; readonly message: string }
}

interface WorkerAnswer {
  readonly id?: number
  readonly result?: unknown
  readonly error?: { readonly message: string }
}

/** Opens the tap. Workers that are already running are found too. */
export async function openCoverageTap(): Promise<CoverageTap> {
  const session = new Session()
  session.connect()
  const post = session.post.bind(session) as Post
  const threads = [post]
  await followWorkers(session, post, (worker) => threads.push(worker))

  const takeAll = () =>
    Promise.all(
      threads.map((thread) => thread('Profiler.takePreciseCoverage') as Promise<Coverage>),
    )
  const started = new Set<Post>()
  return {
    async reset() {
      for (const thread of threads.filter((one) => !started.has(one))) {
        await thread('Profiler.enable')
        await thread('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
        started.add(thread)
      }
      // Taking a count also sets it back to zero.
      await takeAll()
    },
    async take() {
      const ran = new Map<string, string[]>()
      for (const { url, functions } of (await takeAll()).flatMap(({ result }) => result)) {
        const names = functions.filter(({ ranges }) => (ranges[0]?.count ?? 0) > 0)
        if (names.length === 0) continue
        ran.set(url, [...(ran.get(url) ?? []), ...names.map(({ functionName }) => functionName)])
      }
      return ran
    },
    close: () => session.disconnect(),
  }
}

/** The inspector speaks to a worker by letters inside letters: a JSON message as a parameter of a message. */
async function followWorkers(
  session: Session,
  post: Post,
  add: (worker: Post) => void,
): Promise<void> {
  const waiting = new Map<string, PromiseWithResolvers<unknown>>()
  let lastId = 0
  const on = session.on.bind(session) as (
    event: string,
    listener: (event: WorkerEvent) => void,
  ) => void
  on('NodeWorker.attachedToWorker', ({ params: { sessionId } }) => {
    add(async (method, params = {}) => {
      const id = ++lastId
      const answer = Promise.withResolvers<unknown>()
      waiting.set(`${sessionId}/${id}`, answer)
      const message = JSON.stringify({ id, method, params })
      await post('NodeWorker.sendMessageToWorker', { sessionId, message })
      return answer.promise
    })
  })
  on('NodeWorker.receivedMessageFromWorker', ({ params: { sessionId, message } }) => {
    const { id, result, error } = JSON.parse(message) as WorkerAnswer
    const key = `${sessionId}/${id}`
    if (error) waiting.get(key)?.reject(new Error(error.message))
    else waiting.get(key)?.resolve(result)
    waiting.delete(key)
  })
  await post('NodeWorker.enable', { waitForDebuggerOnStart: false })
}
