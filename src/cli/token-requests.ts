import { TOKEN_EXCHANGE_GRANT } from '../exchange/request.ts'
import { Secret } from '../lib/secret.ts'
import { EXIT } from './exit-codes.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

interface Party {
  /** Our issuer: endpoints are below it. */
  readonly server: string
  readonly client: string
  readonly secret: Secret
}

/** Exchanges a token at `{server}/token`. @throws {CommandFailure} exit 5 with the server's reason, 6 when there is no answer. */
export async function exchangeToken(
  terminal: Pick<Terminal, 'fetch'>,
  request: Party & {
    readonly subject: Secret
    readonly audience: readonly string[]
    readonly scope?: string | undefined
  },
): Promise<Secret> {
  const form = new URLSearchParams({
    grant_type: TOKEN_EXCHANGE_GRANT,
    subject_token: request.subject.reveal(),
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    ...(request.scope === undefined ? {} : { scope: request.scope }),
  })
  for (const audience of request.audience) form.append('audience', audience)
  const answer = await post(terminal, request, '/token', form)
  if (typeof answer['access_token'] !== 'string')
    throw new CommandFailure(EXIT.bug, 'the answer holds no token')
  return new Secret(answer['access_token'])
}

/** Asks `{server}/introspect` about a token. @throws {CommandFailure} exit 5 or 6. */
export function introspectToken(
  terminal: Pick<Terminal, 'fetch'>,
  request: Party & { readonly token: Secret },
): Promise<Readonly<Record<string, unknown>>> {
  return post(
    terminal,
    request,
    '/introspect',
    new URLSearchParams({ token: request.token.reveal() }),
  )
}

async function post(
  terminal: Pick<Terminal, 'fetch'>,
  { server, client, secret }: Party,
  path: string,
  form: URLSearchParams,
): Promise<Readonly<Record<string, unknown>>> {
  // RFC 6749 §2.3.1: both halves are form-urlencoded before they are joined.
  const pair = `${encodeURIComponent(client)}:${encodeURIComponent(secret.reveal())}`
  let answer: Response
  try {
    answer = await terminal.fetch(`${server}${path}`, {
      method: 'POST',
      body: form,
      redirect: 'error',
      headers: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` },
      signal: AbortSignal.timeout(10_000),
    })
  } catch {
    throw new CommandFailure(EXIT.unreachable, `no answer from ${server}${path}`)
  }
  const body: unknown = await answer.json().catch(() => undefined)
  if (body === null || typeof body !== 'object') {
    throw new CommandFailure(EXIT.bug, `the server answered ${answer.status} without JSON`)
  }
  const members = Object.fromEntries(Object.entries(body))
  if (!answer.ok) {
    const { error_code: code, error_description: description } = members
    throw new CommandFailure(EXIT.no, `refused: ${String(code)}: ${String(description)}`)
  }
  return members
}
