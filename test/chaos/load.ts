/** Exchanges as many clients at once would ask for them, each with something in it that may be used once only. */
import { Pool } from 'undici'
import { JWT_BEARER } from '../../src/client/methods/private-key-jwt.ts'
import { ASSERTING, type OnDisk } from './deployment.ts'

/** One exchange to ask for, as it goes over the wire; asking twice sends the same once-only id twice. */
export interface Ask {
  /** What in it may be used once: the client's assertion, or the subject token. */
  readonly once: 'assertion' | 'subject'
  readonly assertion: string | undefined
  readonly form: Readonly<Record<string, string>>
}

/** What came back: a whole answer, or none that a client could have read. */
export type Reply =
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'refused'; readonly status: number; readonly code: string }
  | { readonly kind: 'cut' }

/** An exchange that was asked for, and its reply. */
export interface Asked {
  readonly ask: Ask
  readonly reply: Reply
}

/** A client's end: connections that are kept open between requests. */
export interface Caller {
  exchange(ask: Ask): Promise<Reply>
  /** True when the server says that the token is active. */
  isActive(token: string): Promise<boolean>
  /** Asks for fresh exchanges on all connections until the server is gone. */
  untilCut(): Promise<readonly Asked[]>
  close(): Promise<void>
}

const USERS = ['ada', 'bob'] as const

/** Half of the load authenticates by assertion, half by secret. */
export function createCaller(
  url: string,
  disk: OnDisk,
  { connections = 12 }: { readonly connections?: number } = {},
): Caller {
  const pool = new Pool(url, { connections, pipelining: 1 })
  let count = 0

  function nextAsk(): Ask {
    count += 1
    const form = disk.exchangeForm(USERS[count % USERS.length])
    return count % 2 === 0
      ? { once: 'assertion', assertion: disk.assertion(), form }
      : { once: 'subject', assertion: undefined, form }
  }

  async function post(path: string, form: Readonly<Record<string, string>>, authorized: boolean) {
    const { statusCode, body } = await pool.request({
      method: 'POST',
      path,
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        ...(authorized ? { authorization: disk.basic } : {}),
      },
      body: new URLSearchParams(form).toString(),
    })
    return { status: statusCode, body: (await body.json()) as Record<string, unknown> }
  }

  const caller: Caller = {
    async exchange({ assertion, form }) {
      const credentials =
        assertion === undefined
          ? {}
          : { client_assertion_type: JWT_BEARER, client_assertion: assertion, client_id: ASSERTING }
      try {
        const asked = { ...form, ...credentials }
        const { status, body } = await post('/token', asked, assertion === undefined)
        const { access_token: token, error_code: code } = body
        if (status === 200 && typeof token === 'string') return { kind: 'token', token }
        return { kind: 'refused', status, code: String(code) }
      } catch {
        // Refused, reset, or ended in the middle of the body: whoever asked has nothing in hand.
        return { kind: 'cut' }
      }
    },

    async isActive(token) {
      try {
        const { body } = await post('/introspect', { token }, true)
        return body['active'] === true
      } catch {
        return false // nobody who gets no answer may take the token for active
      }
    },

    async untilCut() {
      const asked: Asked[] = []
      const work = async () => {
        for (;;) {
          const ask = nextAsk()
          const reply = await caller.exchange(ask)
          asked.push({ ask, reply })
          if (reply.kind === 'cut') return
        }
      }
      await Promise.all(Array.from({ length: connections }, work))
      return asked
    },

    close: () => pool.destroy(),
  }
  return caller
}

/** The same once-only id in a request that is otherwise fresh. */
export function again({ once, assertion, form }: Ask, disk: OnDisk): Ask {
  return once === 'assertion'
    ? { once, assertion, form: disk.exchangeForm(USERS[0]) }
    : { once, assertion: undefined, form }
}
