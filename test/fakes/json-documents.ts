import type { JsonDocuments } from '../../src/subject/keys.ts'

/** What the fake answers at a URL: a document, an error to throw, or a function that decides. */
export type FakeDocument =
  | { readonly document: unknown; readonly maxAgeSeconds?: number }
  | Error
  | ((signal: AbortSignal) => Promise<{ document: unknown; maxAgeSeconds: number | undefined }>)

/** JSON documents in memory that remember what was asked for. Anything not put there is an error. */
export interface FakeJsonDocuments extends JsonDocuments {
  /** Every URL asked for, in order. */
  readonly asked: readonly string[]
  put(url: string, answer: FakeDocument): void
}

/** A {@link JsonDocuments} for tests of its users. */
export function createFakeJsonDocuments(): FakeJsonDocuments {
  const answers = new Map<string, FakeDocument>()
  const asked: string[] = []
  return {
    asked,
    put: (url, answer) => {
      answers.set(url, answer)
    },
    async fetch(url, signal) {
      asked.push(url)
      signal.throwIfAborted()
      const answer = answers.get(url)
      if (answer === undefined) throw new Error('answered with status 404')
      if (answer instanceof Error) throw answer
      if (typeof answer === 'function') return answer(signal)
      return { document: structuredClone(answer.document), maxAgeSeconds: answer.maxAgeSeconds }
    },
  }
}
