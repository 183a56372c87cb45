import { connect, type Socket } from 'node:net'

/** An answer as far as a load generator looks at it. */
export interface Answer {
  readonly status: number
  /** Status line and headers. */
  readonly head: string
  /** Valid only until the callback returns. */
  readonly body: Buffer
}

/** A keep-alive HTTP/1.1 connection with one request in flight. */
export interface Connection {
  /** Sends a complete request; `done` is called with the answer. Not to be called again before that. */
  send(request: Buffer, done: (answer: Answer) => void): void
  close(): void
}

const HEAD_END = Buffer.from('\r\n\r\n')
const STATUS_AT = 9

/**
 * Opens a connection to a server on this machine. Far cheaper than an HTTP client: requests are ready-made bytes and
 * of the answer only status and length are read, so one core can saturate a server on the other.
 *
 * Anything unexpected (no `Content-Length`, a lost connection) is given to `onError`: a run with errors is void.
 */
export async function openConnection(
  port: number,
  onError: (error: Error) => void,
): Promise<Connection> {
  const socket = await dial(port)
  let done: ((answer: Answer) => void) | undefined
  let received: Buffer | undefined
  let closed = false
  const parse = (bytes: Buffer) => {
    try {
      return parseAnswer(bytes)
    } catch (error) {
      onError(error as Error)
      return undefined
    }
  }
  socket.on('data', (chunk) => {
    received = received ? Buffer.concat([received, chunk]) : chunk
    const answer = parse(received)
    if (!answer) return
    received = undefined
    const call = done
    done = undefined
    call?.(answer)
  })
  socket.on('error', onError)
  socket.on('close', () => {
    if (!closed) onError(new Error('the server closed a connection'))
  })
  return {
    send(request, callback) {
      done = callback
      socket.write(request)
    },
    close() {
      closed = true
      socket.destroy()
    },
  }
}

function dial(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
  })
}

/** The answer when all of it is there. @throws {Error} when its length cannot be known. */
export function parseAnswer(bytes: Buffer): Answer | undefined {
  const headEnd = bytes.indexOf(HEAD_END)
  if (headEnd < 0) return undefined
  const head = bytes.toString('latin1', 0, headEnd)
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  if (length === undefined) throw new Error('an answer has no Content-Length')
  const bodyStart = headEnd + HEAD_END.length
  const end = bodyStart + Number(length)
  if (bytes.length < end) return undefined
  const status = Number(head.slice(STATUS_AT, STATUS_AT + 3))
  return { status, head, body: bytes.subarray(bodyStart, end) }
}

/** A complete POST of a form, its bytes made beforehand. */
export function formRequest(port: number, path: string, form: string): Buffer {
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\naccept: application/json\r\n` +
      `content-type: application/x-www-form-urlencoded\r\ncontent-length: ${form.length}\r\n\r\n${form}`,
    'latin1',
  )
}
