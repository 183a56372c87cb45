import type { Command } from 'commander'
import type { Secret } from '../lib/secret.ts'
import { Secret as SecretValue } from '../lib/secret.ts'
import { DEV_FOLDER, devPaths, readDevState } from './dev-state.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { outputOption } from './output.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

const DEADLINE_MILLISECONDS = 10_000

/** Calls the admin API as the command line does. */
export interface AdminClient {
  /** The JSON answer of a path below `/admin/v1`. @throws {CommandFailure} with the exit code for what went wrong. */
  call(method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown>
}

/** A command that calls the admin API and prints what it answers: where, and how. */
export function withAdminOptions(command: Command): Command {
  return command.option('--server <url>', 'admin address of the server').addOption(outputOption())
}

/**
 * An admin client for `--server`, `ROLEMINT_SERVER`, what `up` wrote here, or the default admin address, in this order; the
 * credential is `ROLEMINT_ADMIN_TOKEN` or, beside `up`, its token file.
 */
export function createAdminClient(
  terminal: Terminal,
  options: { readonly server?: string | undefined },
): AdminClient {
  const server =
    options.server ??
    terminal.env['ROLEMINT_SERVER'] ??
    readDevState(terminal)?.admin ??
    'http://127.0.0.1:9090'
  return {
    async call(method, path, body) {
      const token = credential(terminal)
      let answer: Response
      try {
        answer = await terminal.fetch(new URL(`/admin/v1${path}`, server), {
          method,
          redirect: 'error',
          signal: AbortSignal.timeout(DEADLINE_MILLISECONDS),
          headers: {
            authorization: `Bearer ${token.reveal()}`,
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        })
      } catch {
        throw new CommandFailure(
          EXIT.unreachable,
          `no answer from ${server}; is the server running there?`,
        )
      }
      const facts: unknown = await answer.json().catch(() => undefined)
      if (!answer.ok)
        throw new CommandFailure(exitFor(answer.status), problemText(facts, answer.status))
      return facts
    },
  }
}

function credential(terminal: Terminal): Secret {
  const given = terminal.env['ROLEMINT_ADMIN_TOKEN']
  if (given) return new SecretValue(given.trim())
  try {
    return new SecretValue(terminal.readFile(devPaths(DEV_FOLDER).adminToken).trim())
  } catch {
    throw new CommandFailure(
      EXIT.notPermitted,
      'no credential: set ROLEMINT_ADMIN_TOKEN to the output of `rolemint admin token -c FILE`',
    )
  }
}

function exitFor(status: number): ExitCode {
  if (status === 401 || status === 403) return EXIT.notPermitted
  if (status === 409) return EXIT.conflict
  if (status === 503) return EXIT.unreachable
  if (status >= 500) return EXIT.bug
  return status === 404 ? EXIT.no : EXIT.usage
}

function problemText(facts: unknown, status: number): string {
  if (facts !== null && typeof facts === 'object') {
    if ('detail' in facts && typeof facts.detail === 'string') return facts.detail
    if ('error_description' in facts && typeof facts.error_description === 'string')
      return facts.error_description
  }
  return `the server answered ${status}`
}
