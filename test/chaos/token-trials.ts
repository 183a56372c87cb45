/** Tokens shown to every verifier at the moments of their lives at which a wrong key life would be seen. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Verifier } from '../fakes/verifiers/verifier.ts'
import type { Rotating } from './rotating.ts'

/** What came of the tokens so far. */
export interface Trials {
  readonly tokens: number
  readonly verifications: number
  /** Refused after `exp`, because this machine was too slow to ask in time: they say nothing, and are not in `verifications`. */
  readonly late: number
  /** Tokens that a verifier refused, and exchanges without a key to sign with, each with all that is known; the first thousand. */
  readonly failed: readonly string[]
  /** Exchanges and rotations that were refused for another reason, as on a disk that hangs: nothing was shown, so nothing failed. */
  readonly refused: readonly string[]
}

/** Runs trials of tokens, many at a time. */
export interface Trier {
  /** Has a token issued and shows it: at once, 1 to 2 s later, and right before its `exp`. */
  start(tenant: number): void
  /** Notes a rotation that was refused. */
  readonly refuse: (what: string) => void
  /** Trials under way. */
  inFlight(): number
  /** Resolves when all that were started are over. */
  settled(): Promise<unknown>
  result(): Trials
  /** True when all verifiers were shown a token that this key signed, and answered in time. */
  hasSeen(kid: string): boolean
}

/** One token and what it says of itself. */
interface Issued {
  readonly tenant: number
  readonly token: string
  readonly kid: string
  /** Seconds since the epoch. */
  readonly exp: number
  /** When it was answered (milliseconds since the epoch). */
  readonly at: number
}

const AGAIN_MILLISECONDS = { least: 1000, spread: 1000 }
const BEFORE_EXP_MILLISECONDS = 700
const MOST_NOTED = 1000

/** Tries tokens of this deployment at these verifiers. Each failure is told to `log` as it happens. */
export function createTrier(
  rotating: Rotating,
  verifiers: readonly Verifier[],
  log: (line: string) => void,
): Trier {
  const tally = { tokens: 0, verifications: 0, late: 0 }
  const failed: string[] = []
  const refused: string[] = []
  const signers = new Set<string>()
  const running = new Set<Promise<void>>()

  const note = (list: string[]) => (what: string) => {
    if (list.length < MOST_NOTED) list.push(what)
    log(what)
  }
  const fail = note(failed)
  const refuse = note(refused)

  async function show(issued: Issued, when: string): Promise<void> {
    const { issuer = '' } = rotating.trusted[issued.tenant] ?? {}
    const inTime = await Promise.all(
      verifiers.map(async (verifier) => {
        const refusal = await verifier.verify(issuer, issued.token)
        if (refusal !== undefined && Date.now() >= issued.exp * 1000) {
          tally.late += 1
          return false
        }
        tally.verifications += 1
        if (refusal !== undefined)
          fail(describe(rotating, issued, `${verifier.kind} (${when}): ${refusal}`))
        return true
      }),
    )
    if (inTime.every((one) => one)) signers.add(issued.kid)
  }

  async function follow(tenant: number): Promise<void> {
    let token: string
    try {
      token = await rotating.exchange(tenant)
    } catch (error) {
      const what = `tenant ${tenant}: no token: ${String(error)}; ${ringText(rotating, tenant)}`
      if (what.includes('signer_unavailable')) fail(what)
      else refuse(what)
      return
    }
    const issued = { tenant, token, ...readToken(token), at: Date.now() }
    tally.tokens += 1
    await show(issued, 'fresh')
    const { least, spread } = AGAIN_MILLISECONDS
    await sleep(least + Math.random() * spread)
    await show(issued, 'again')
    await sleep(Math.max(0, issued.exp * 1000 - BEFORE_EXP_MILLISECONDS - Date.now()))
    await show(issued, 'last')
  }

  return {
    start(tenant) {
      const work = follow(tenant).finally(() => running.delete(work))
      running.add(work)
    },
    refuse,
    inFlight: () => running.size,
    settled: () => Promise.all(running),
    result: () => ({ ...tally, failed, refused }),
    hasSeen: (kid) => signers.has(kid),
  }
}

function readToken(token: string): Pick<Issued, 'kid' | 'exp'> {
  const [header, payload] = token
    .split('.')
    .slice(0, 2)
    .map((part): unknown => JSON.parse(Buffer.from(part, 'base64url').toString()))
  const { kid } = header as { kid: string }
  const { exp } = payload as { exp: number }
  return { kid, exp }
}

/** All that helps to see why: the ages of token and key, and the key set of this moment. The token itself is not in it. */
function describe(rotating: Rotating, { tenant, kid, at }: Issued, what: string): string {
  const now = Date.now()
  const key = rotating.keys(tenant).find((one) => one.kid === kid)
  const ago = (time: number | undefined) =>
    time === undefined ? 'never' : `${((now - time) / 1000).toFixed(1)} s ago`
  const life = [
    `published ${ago(key?.publishedAt)}`,
    `active ${ago(key?.activatedAt)}`,
    `verify-only ${ago(key?.verifyOnlyAt)}`,
    `retired ${ago(key?.retiredAt)}`,
  ]
  return [
    `tenant ${tenant}: ${what}`,
    `token answered ${ago(at)}`,
    `key ${kid} ${life.join(', ')}`,
    ringText(rotating, tenant),
  ].join('; ')
}

function ringText(rotating: Rotating, tenant: number): string {
  const { kids, maxAgeSeconds } = rotating.jwks(tenant)
  const stateOf = (kid: string) => rotating.keys(tenant).find((key) => key.kid === kid)?.state
  return `JWKS (max-age ${maxAgeSeconds}) ${kids.map((kid) => `${kid} ${stateOf(kid)}`).join(', ')}`
}
