/** The eight kinds of fault, and what each is to each dependency. */
import type { TcpFault } from '../tcp-proxy.ts'

export const DEPENDENCIES = ['idp', 'entitlement', 'vault', 'valkey', 'store'] as const
export const FAULTS = [
  'down',
  'blackhole',
  'slow',
  'reset',
  'garbage',
  'truncated',
  '5xx',
  'flapping',
] as const

export type Dependency = (typeof DEPENDENCIES)[number]
export type FaultKind = (typeof FAULTS)[number]

/** What a fault is, for the page. */
export const FAULT_MEANINGS: Readonly<Record<FaultKind, string>> = {
  down: 'connections are refused, open ones are reset',
  blackhole: 'connections are taken, nothing is ever answered',
  slow: 'every byte arrives 0.75 s later in each direction, so every answer 1.5 s',
  reset: 'connections are taken and reset when the request comes',
  garbage:
    'every second connection answers bytes that are no protocol, the others a well-formed answer that makes no sense (HTTP 200 with something that is no JSON; Valkey: a text instead of the reply)',
  truncated: 'the last bytes of an answer are missing, then the connection ends politely',
  '5xx':
    'HTTP 503; from Valkey `-LOADING`; from PostgreSQL FATAL 57P03 (the database system is starting up), also on open connections',
  flapping: 'down for 0.4 s, up for 0.4 s, and so on',
}

const ONE_WAY_MILLISECONDS = 750
const FLAP_MILLISECONDS = 400
/** Fewer than any answer has, more than a closing bracket: the end of a chunked body is five bytes. */
const LOST_BYTES = 6

/** What the proxy before this dependency does. */
export function proxyFault(dependency: Dependency, kind: FaultKind): TcpFault {
  const { nonsense, failure, endsAfterAnswer: end, shortAnswers } = PROTOCOLS[dependency]
  const faults: Readonly<Record<FaultKind, TcpFault>> = {
    down: { kind: 'down' },
    blackhole: { kind: 'blackhole' },
    slow: { kind: 'latency', milliseconds: ONE_WAY_MILLISECONDS },
    reset: { kind: 'reset' },
    garbage: {
      kind: 'reply',
      answer: (request, connection) => (connection % 2 === 0 ? NOISE : nonsense(request)),
      end,
    },
    truncated: { kind: 'truncated', lose: shortAnswers ? 1 : LOST_BYTES },
    '5xx': { kind: 'reply', answer: failure, end },
    flapping: {
      kind: 'flapping',
      upMilliseconds: FLAP_MILLISECONDS,
      downMilliseconds: FLAP_MILLISECONDS,
    },
  }
  return faults[kind]
}

/** What an answer looks like that is none. */
interface Protocol {
  /** Formed as the protocol wants it, and meaning nothing. */
  readonly nonsense: (request: Buffer) => Buffer
  /** The server says that it cannot serve now. */
  readonly failure: (request: Buffer) => Buffer
  readonly endsAfterAnswer: boolean
  /** An answer may be shorter than {@link LOST_BYTES}. */
  readonly shortAnswers: boolean
}

/** No HTTP, no message type of PostgreSQL, no type of RESP. */
const NOISE = Buffer.from('fffe00f1d2c3b4a5968778695a4b3c2d1e0f', 'hex')

const http = (status: string, body: string) => () =>
  Buffer.from(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  )

const HTTP: Protocol = {
  nonsense: http('200 OK', '<html>{"data": [everything is fine'),
  failure: http('503 Service Unavailable', '{"errors":["made by the fault proxy"]}'),
  endsAfterAnswer: true,
  shortAnswers: false,
}

/** One reply for every command of the request: with fewer the client would only wait. */
const resp = (reply: string) => (request: Buffer) => {
  const commands = request.toString('latin1').match(/^\*\d+\r$/gm)?.length ?? 1
  return Buffer.from(reply.repeat(commands))
}

const RESP: Protocol = {
  nonsense: resp('$8\r\nnonsense\r\n'),
  failure: resp('-LOADING Redis is loading the dataset in memory\r\n'),
  endsAfterAnswer: false,
  shortAnswers: true,
}

/** ErrorResponse (PostgreSQL protocol 3.0, §55.7). */
function errorResponse(code: string, message: string): Buffer {
  const fields = [`SFATAL`, `VFATAL`, `C${code}`, `M${message}`]
    .map((field) => `${field}\0`)
    .join('')
  const body = Buffer.from(`${fields}\0`)
  const head = Buffer.alloc(5)
  head.write('E')
  head.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

/** AuthenticationOk and then rows that nobody asked for. */
const UNASKED_ROWS = Buffer.concat([
  Buffer.from('R\0\0\0\x08\0\0\0\0', 'latin1'),
  Buffer.from('D\0\0\0\x0b\0\x01\0\0\0\x01x', 'latin1'),
  Buffer.from('Z\0\0\0\x05I', 'latin1'),
])

const POSTGRES: Protocol = {
  nonsense: () => UNASKED_ROWS,
  failure: () => errorResponse('57P03', 'the database system is starting up'),
  endsAfterAnswer: true,
  shortAnswers: false,
}

const PROTOCOLS: Readonly<Record<Dependency, Protocol>> = {
  idp: HTTP,
  entitlement: HTTP,
  vault: HTTP,
  valkey: RESP,
  store: POSTGRES,
}
