/** Requests to a server whose clock may be wrong, judged by the true time, which is that of this process. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import { mint, newTestKey, type TestKey } from '../fakes/jwt.ts'
import { CLIENT, EXCHANGE, IDP_ISSUER, JWT_TYPE } from '../fakes/sts.ts'

/** What was seen so far. */
export interface ClockTally {
  readonly issued: number
  /** Refusals with 503, as while a step is in doubt. */
  readonly paused: number
  /** Valid tokens refused as expired or not yet valid: the time in use was wrong, on the safe side. */
  readonly refusedValid: number
  /** Expired tokens, and tokens from the future, that were brought. */
  readonly attacks: number
  readonly expiredAccepted: number
  readonly futureAccepted: number
  /** Issued tokens that live longer than was asked for, or than may be asked for, from the true time on. */
  readonly overlong: number
  /** Issued tokens with an `iat` of more than 2 s ahead. */
  readonly ahead: number
  readonly iatAheadSecondsMax: number
  readonly iatBehindSecondsMax: number
  /** Introspections of a token of ours that had expired, and those that called it active. */
  readonly deadShown: number
  readonly deadActive: number
  /** Answers that are none of the above. */
  readonly unexpected: readonly string[]
}

export interface ClockProbe {
  /** One exchange of a fresh token; true when it was issued. */
  exchange(): Promise<boolean>
  /** Brings tokens that must be refused, and shows dead ones. */
  attack(): Promise<void>
  /** Resolves when a token of ours has expired that was issued here, so that the next attack shows a dead one. */
  untilDead(): Promise<void>
  /** Exchanges all the time, on two connections. */
  load(): { stop(): Promise<void> }
  tally(): ClockTally
  close(): Promise<void>
}

/** What is served, and how its client and its IdP sign. */
export interface ClockTarget {
  readonly url: string
  readonly basic: string
  readonly idpKey: TestKey
}

export const newClockKey = () => newTestKey('ES256', 'clock-idp')

/** Beyond `limits.skew` (5 s), and the 2 s that the time in use may be behind. */
const SURELY_EXPIRED = 9
const LONGEST_LIFE = 12 * 3600
const MOST_AHEAD = 2
/** Life of the tokens that are shown again when they are dead. */
const SHORT_LIFE = 2
/** What introspection tolerates, and what the time in use may be behind. */
const SURELY_DEAD = 9
const AGES = [SURELY_EXPIRED, 3600, 86_400, 10 * 365 * 86_400]
const LEADS = [SURELY_EXPIRED, 3600, 86_400, 10 * 365 * 86_400]
const TIMES_OFF = new Set(['expired', 'not_yet_valid'])
const MOST_KEPT = 200

type Tally = { -readonly [K in keyof ClockTally]: ClockTally[K] } & { unexpected: string[] }

export function createClockProbe({ url, basic, idpKey }: ClockTarget): ClockProbe {
  const pool = new Pool(url, { connections: 8, pipelining: 1 })
  const tally: Tally = {
    issued: 0,
    paused: 0,
    refusedValid: 0,
    attacks: 0,
    expiredAccepted: 0,
    futureAccepted: 0,
    overlong: 0,
    ahead: 0,
    iatAheadSecondsMax: 0,
    iatBehindSecondsMax: 0,
    deadShown: 0,
    deadActive: 0,
    unexpected: [],
  }
  /** Short-lived tokens of ours, and when they are surely dead. */
  const mortal: { readonly token: string; readonly deadAt: number }[] = []

  async function post(path: string, form: Readonly<Record<string, string>>) {
    const { statusCode, body } = await pool.request({
      method: 'POST',
      path,
      headers: { 'content-type': 'application/x-www-form-urlencoded', authorization: basic },
      body: new URLSearchParams(form).toString(),
    })
    return { status: statusCode, body: (await body.json()) as Record<string, unknown> }
  }

  /** A subject token with these times, in seconds from the true now. */
  function subject(iat: number, exp: number, user = 'ada'): string {
    const now = trueSeconds()
    const who = { iss: IDP_ISSUER, sub: user, upn: `${user}@acme.example`, azp: CLIENT }
    const times = { iat: Math.floor(now + iat), exp: Math.floor(now + exp) }
    return mint({ key: idpKey, payload: { ...who, ...times, aud: 'rolemint', jti: randomUUID() } })
  }

  function bring(subjectToken: string, more: Readonly<Record<string, string>> = {}) {
    return post('/token', {
      grant_type: EXCHANGE,
      subject_token_type: JWT_TYPE,
      subject_token: subjectToken,
      ...more,
    })
  }

  /** Judges a token of ours that was asked for with this life. */
  function judge(token: string, asked: number, life: number): void {
    const claims = claimsOf(token)
    const [iat, exp] = [Number(claims['iat']), Number(claims['exp'])]
    const answered = trueSeconds()
    tally.issued += 1
    tally.iatAheadSecondsMax = Math.max(tally.iatAheadSecondsMax, iat - answered)
    tally.iatBehindSecondsMax = Math.max(tally.iatBehindSecondsMax, asked - iat)
    if (iat - answered > MOST_AHEAD) tally.ahead += 1
    const tooLong = exp - iat > life || exp - answered > life + MOST_AHEAD
    if (tooLong || Number(claims['session_exp']) - answered > LONGEST_LIFE + MOST_AHEAD)
      tally.overlong += 1
  }

  async function exchange(user = 'ada', life = LONGEST_LIFE): Promise<string | undefined> {
    const asked = trueSeconds()
    const more = life === LONGEST_LIFE ? {} : { expires_in: String(life) }
    const { status, body } = await bring(subject(0, 300, user), more)
    const { access_token: token, error_code: code } = body
    if (status === 200 && typeof token === 'string') {
      judge(token, asked, life)
      return token
    }
    if (status === 503) tally.paused += 1
    else if (TIMES_OFF.has(String(code))) tally.refusedValid += 1
    else tally.unexpected.push(`a valid token: ${status} ${String(code)}`)
    return undefined
  }

  async function attackWith(iat: number, exp: number, kind: 'expiredAccepted' | 'futureAccepted') {
    tally.attacks += 1
    const { status, body } = await bring(subject(iat, exp))
    if (status === 200) tally[kind] += 1
    else if (status !== 503 && !TIMES_OFF.has(String(body['error_code'])))
      tally.unexpected.push(`${kind}: ${status} ${String(body['error_code'])}`)
  }

  async function showDead(token: string): Promise<void> {
    tally.deadShown += 1
    const { status, body } = await post('/introspect', { token })
    if (body['active'] === true) tally.deadActive += 1
    else if (status !== 503 && body['active'] !== false)
      tally.unexpected.push(`introspection: ${status} ${JSON.stringify(body)}`)
  }

  return {
    exchange: async () => (await exchange()) !== undefined,
    async attack() {
      const short = exchange('bob', SHORT_LIFE)
      await Promise.all([
        ...AGES.map((age) => attackWith(-age - 300, -age, 'expiredAccepted')),
        // One that is valid for an hour after the future in which it begins.
        ...LEADS.map((lead) => attackWith(lead, lead + 3600, 'futureAccepted')),
        ...mortal
          .filter(({ deadAt }) => deadAt < trueSeconds())
          .slice(-3)
          .map(({ token }) => showDead(token)),
      ])
      const token = await short
      if (token !== undefined)
        mortal.push({ token, deadAt: Number(claimsOf(token)['exp']) + SURELY_DEAD })
      if (mortal.length > MOST_KEPT) mortal.shift()
    },
    async untilDead() {
      const deaths = mortal.map(({ deadAt }) => deadAt)
      await sleep(Math.max(0, Math.min(...deaths) - trueSeconds()) * 1000 + 100)
    },
    load() {
      const load = { over: false }
      const lanes = ['ada', 'bob'].map(async (user) => {
        while (!load.over) {
          await exchange(user)
          await sleep(20)
        }
      })
      return {
        async stop() {
          load.over = true
          await Promise.all(lanes)
        },
      }
    },
    tally: () => ({
      ...tally,
      iatAheadSecondsMax: tenths(tally.iatAheadSecondsMax),
      iatBehindSecondsMax: tenths(tally.iatBehindSecondsMax),
    }),
    close: () => pool.destroy(),
  }
}

const trueSeconds = () => Date.now() / 1000
const tenths = (value: number) => Math.round(value * 10) / 10

function claimsOf(token: string): Record<string, unknown> {
  const payload: unknown = JSON.parse(
    Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
  )
  return payload !== null && typeof payload === 'object'
    ? Object.fromEntries(Object.entries(payload))
    : {}
}
