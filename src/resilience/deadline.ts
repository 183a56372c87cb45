/** The time for a piece of work was over. */
export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded'
  readonly milliseconds: number

  constructor(milliseconds: number) {
    super(`no result within ${milliseconds} ms`)
    this.milliseconds = milliseconds
  }
}

/**
 * Runs `work` for at most `milliseconds`.
 *
 * The signal given to `work` fires when the time is over, and the result rejects then even if `work` does not listen.
 * @throws {DeadlineExceeded} when the time is over; else whatever `work` throws.
 */
export async function withDeadline<T>(
  milliseconds: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(new DeadlineExceeded(milliseconds)), milliseconds)
  try {
    return await waitUnder(work(controller.signal), controller.signal)
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Waits for `promise`, but no longer than `signal` allows; the work behind the promise goes on.
 *
 * The listener is removed as soon as the wait ends: a request's signal lives through many waits, and a listener left
 * behind at each would keep every result alive until the request is over.
 * @throws the reason of `signal` when it fires first.
 */
export function waitUnder<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => reject(reasonOf(signal))
    if (signal.aborted) {
      promise.catch(() => undefined)
      giveUp()
      return
    }
    signal.addEventListener('abort', giveUp, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp))
  })
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error
    ? signal.reason
    : new Error('aborted', { cause: signal.reason })
}
