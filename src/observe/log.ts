import { type DestinationStream, pino } from 'pino'

/** Structured log lines: named fields and a constant message, never a request object, never a token. */
export interface Log {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void
  info(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
  error(fields: Readonly<Record<string, unknown>>, message: string): void
}

/** How much is logged. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/**
 * Anything shaped like a compact JWS or JWE. Fields are named one by one, so none should ever reach a line; this is the
 * last door for what a library puts into an error message.
 */
const TOKEN_SHAPED =
  /eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*){0,3}|rm[sa]_[A-Za-z0-9_-]{20,}/g

/** Replaces everything that looks like a token or a secret made by rolemint. */
export function scrub(line: string): string {
  return line.includes('eyJ') || line.includes('rms_') || line.includes('rma_')
    ? line.replace(TOKEN_SHAPED, '[token]')
    : line
}

/**
 * Logs JSON lines to `destination` (one object a line, RFC 8259). Times are ISO 8601 in UTC.
 *
 * The `err` field holds an error's type, message and stack, and its causes' messages.
 */
export function createLog(destination: DestinationStream, level: LogLevel = 'info'): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: createTimestamp(),
      formatters: { level: (label) => ({ level: label }) },
      hooks: { streamWrite: scrub },
    },
    destination,
  )
}

/** ISO 8601 in UTC; spelt once a millisecond, as a busy server logs several lines in one. */
function createTimestamp(): () => string {
  let at = Number.NaN
  let text = ''
  return () => {
    const now = Date.now()
    if (now !== at) {
      at = now
      text = `,"time":"${new Date(now).toISOString()}"`
    }
    return text
  }
}

const LOG_BUFFER_BYTES = 4096
const LOG_FLUSH_MILLISECONDS = 500

/** Where log lines go: a file descriptor, in blocks. A write for every line would cost a request more than deciding it. */
export interface LogDestination extends DestinationStream {
  /** Writes what is still held back; also done when the process ends. */
  flushSync(): void
}

/** Lines are held back for half a second at most. */
export function createLogDestination(fd: number): LogDestination {
  const destination = pino.destination({
    dest: fd,
    sync: false,
    minLength: LOG_BUFFER_BYTES,
    periodicFlush: LOG_FLUSH_MILLISECONDS,
  })
  process.once('exit', () => destination.flushSync())
  return destination
}
