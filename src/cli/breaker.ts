import { Command } from 'commander'
import Type, { type Static } from 'typebox'
import Value from 'typebox/value'
import { createAdminClient, withAdminOptions } from './admin-client.ts'
import { EXIT } from './exit-codes.ts'
import { type Format, print } from './output.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

interface BreakerOptions {
  readonly server?: string
  readonly output: Format
}

const breakerSchema = Type.Object({
  name: Type.String(),
  tenant: Type.Optional(Type.String()),
  kind: Type.String(),
  state: Type.String(),
  retry_after_seconds: Type.Number(),
  in_flight: Type.Number(),
  calls: Type.Number(),
  failures: Type.Number(),
  slow: Type.Number(),
  last_failure: Type.Optional(Type.String()),
})

const listSchema = Type.Object({ breakers: Type.Array(breakerSchema) })

/** A breaker as the admin API shows it. */
type BreakerFacts = Static<typeof breakerSchema>

/** `rolemint breaker …`: the breakers before IdPs, sources and other dependencies of one replica. */
export function breakerCommand(terminal: Terminal): Command {
  const breaker = new Command('breaker').description(
    'Show and change the breakers before the dependencies of a replica.',
  )
  list(breaker.command('list'), terminal)
  change(
    breaker.command('hold-open'),
    terminal,
    'hold-open',
    'Let nothing through to a dependency until a reset or a restart of the replica.',
  )
  change(breaker.command('reset'), terminal, 'reset', 'Close a breaker and forget what it counted.')
  return breaker
}

function list(command: Command, terminal: Terminal): void {
  withAdminOptions(command.description('List the dependencies with the states of their breakers.'))
    .option('--tenant <name>', 'only those of this tenant, and those of all')
    .action(async (options: BreakerOptions & { tenant?: string }) => {
      const query =
        options.tenant === undefined
          ? ''
          : `?${new URLSearchParams({ tenant: options.tenant }).toString()}`
      const facts = await createAdminClient(terminal, options).call('GET', `/breakers${query}`)
      if (!Value.Check(listSchema, facts)) throw notUnderstood()
      print(terminal, options.output, facts, rows(facts.breakers))
      if (facts.breakers.length === 0) terminal.stderr('no dependency was called yet\n')
    })
}

const DONE = {
  'hold-open':
    'held open at this replica; the others have breakers of their own, and a restart closes it\n',
  reset: 'closed; the next calls decide\n',
} as const

function change(
  command: Command,
  terminal: Terminal,
  action: keyof typeof DONE,
  description: string,
): void {
  withAdminOptions(command.description(description))
    // Names have a space, and asking for quotes would only make people forget them.
    .argument('<name...>', 'as listed, e.g. source acme/hr')
    .requiredOption('--reason <text>', 'why; it is recorded')
    .action(async (words: readonly string[], options: BreakerOptions & { reason: string }) => {
      const body = { name: words.join(' '), action, reason: options.reason }
      const facts = await createAdminClient(terminal, options).call('POST', '/breakers', body)
      if (!Value.Check(breakerSchema, facts)) throw notUnderstood()
      print(terminal, options.output, facts, rows([facts]))
      terminal.stderr(DONE[action])
    })
}

function rows(breakers: readonly BreakerFacts[]): readonly (readonly string[])[] {
  return [
    ['NAME', 'STATE', 'NEXT TRY', 'CALLS', 'FAILED', 'SLOW', 'IN FLIGHT', 'LAST FAILURE'],
    ...breakers.map((one) => [
      one.name,
      one.state,
      nextTry(one),
      String(one.calls),
      String(one.failures),
      String(one.slow),
      String(one.in_flight),
      one.last_failure ?? '',
    ]),
  ]
}

function nextTry({ state, retry_after_seconds: seconds }: BreakerFacts): string {
  if (state === 'held-open') return 'after reset'
  return seconds === 0 ? '' : `in ${seconds}s`
}

function notUnderstood(): CommandFailure {
  return new CommandFailure(EXIT.bug, 'the server answered something else than breakers')
}
