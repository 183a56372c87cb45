import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Trusted, Verifier, VerifierOptions } from './verifier.ts'

const SCRIPT = fileURLToPath(new URL('pyjwt.py', import.meta.url))
const DEADLINE_MILLISECONDS = 50_000
/** Of what it says on stderr; only the last words matter. */
const KEPT_CHARACTERS = 4000

interface Answer {
  readonly id: number
  readonly refusal: string | null
  readonly fetches: number
}

/** PyJWT with its PyJWKClient, in a process of its own: see pyjwt.py. `python` has to be one that can import PyJWT. */
export function createPyJwtVerifier(
  trusted: readonly Trusted[],
  options: VerifierOptions,
  python: string,
): Verifier {
  const child = spawn(python, ['-u', SCRIPT], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] },
  })
  const waiting = new Map<number, (refusal: string | undefined) => void>()
  let count = 0
  let fetches = 0
  let said = ''
  let over = false

  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-KEPT_CHARACTERS)
  })
  createInterface({ input: child.stdout }).on('line', (line) => {
    const answer = JSON.parse(line) as Answer
    fetches = answer.fetches
    waiting.get(answer.id)?.(answer.refusal ?? undefined)
  })
  const giveUp = () => {
    over = true
    for (const answer of waiting.values()) answer(`PyJWT has ended: ${said}`)
  }
  child.on('error', giveUp)
  child.stdin.on('error', giveUp)
  child.on('exit', giveUp)
  // A test process that ends without `close` must leave nothing behind.
  const killOnExit = () => void child.kill('SIGKILL')
  process.once('exit', killOnExit)

  const say = (message: object) => void child.stdin.write(`${JSON.stringify(message)}\n`)
  say({ trusted, ...options })

  return {
    kind: 'PyJWT',
    verify: (issuer, token) =>
      new Promise((resolve) => {
        if (over) {
          resolve(`PyJWT has ended: ${said}`)
          return
        }
        count += 1
        const id = count
        const answer = (refusal: string | undefined) => {
          clearTimeout(timer)
          waiting.delete(id)
          resolve(refusal)
        }
        const timer = setTimeout(() => answer('PyJWT gave no answer'), DEADLINE_MILLISECONDS)
        waiting.set(id, answer)
        say({ id, issuer, token })
      }),
    fetches: () => fetches,
    async close() {
      process.removeListener('exit', killOnExit)
      if (over) return
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    },
  }
}
