import { isRefusal, Refusal } from '../../lib/refusal.ts'

/**
 * What the store answers; when it does not, that is no bug of the call but a reason to try again.
 *
 * @throws {Refusal} `ledger_unavailable`, or the refusal that the store itself had.
 */
export function fromStore<T>(answer: Promise<T>): Promise<T> {
  return answer.catch((cause: unknown) => {
    if (isRefusal(cause)) throw cause
    throw new Refusal('ledger_unavailable', 'The store did not answer; retry later.', { cause })
  })
}
