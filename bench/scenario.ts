import type { Generator } from './generator.ts'
import type { LoadResult } from './load.ts'
import { BENCH_CLIENT, BENCH_TARGET } from './subject-tokens.ts'
import { EXCHANGE_GRANT, JWT_TYPE, OPAQUE_GRANT } from './vocabulary.ts'

/** A server under test. */
export interface Target {
  readonly pid: number
  readonly port: number
  /** The core it is pinned to, if it is. */
  readonly core: number | undefined
}

/** One kind of request to one server. */
export interface Scenario {
  readonly id: ScenarioId
  readonly target: Target
  readonly path: string
  readonly form: string
  readonly list: string
  /** Warm: a small list again and again. Cold: no token twice. */
  readonly warm: boolean
  /** Fills the list with tokens for so many requests. */
  fill(count: number): Promise<void>
}

/** Everything that is measured at saturation. */
export const SCENARIO_IDS = [
  'rolemint exchange cold',
  'rolemint exchange warm',
  'rolemint introspect cold',
  'rolemint introspect warm',
  'memory exchange cold',
  'peer exchange',
  'peer introspect',
] as const

/** Name of a scenario. `memory` is rolemint without a durable ledger. */
export type ScenarioId = (typeof SCENARIO_IDS)[number]

/** Tokens of a warm list: what fits every verified-token cache. */
export const WARM_TOKENS = 2000
const SATURATING_CONNECTIONS = 32
const OPEN_CONNECTIONS = 256
const FILL_SECONDS = 120

/** The form of an exchange, the token missing at its end. rolemint is asked by `audience`, the peer by `resource`. */
export function exchangeForm(clientSecret: string, targetParameter: 'audience' | 'resource') {
  return open('subject_token', {
    grant_type: EXCHANGE_GRANT,
    client_id: BENCH_CLIENT,
    client_secret: clientSecret,
    subject_token_type: JWT_TYPE,
    [targetParameter]: BENCH_TARGET,
  })
}

function introspectForm(clientSecret: string): string {
  return open('token', { client_id: BENCH_CLIENT, client_secret: clientSecret })
}

function open(lastParameter: string, form: Record<string, string>): string {
  return `${new URLSearchParams(form).toString()}&${lastParameter}=`
}

/** Everything a rolemint is asked. */
export function rolemintScenarios(
  generator: Generator,
  target: Target,
  clientSecret: string,
  store: 'rolemint' | 'memory',
): Scenario[] {
  const exchange = {
    target,
    path: '/token',
    form: exchangeForm(clientSecret, 'audience'),
    list: 'subjects',
    fill: (count: number) => generator.mint('subjects', count),
  }
  if (store === 'memory') return [{ ...exchange, id: 'memory exchange cold', warm: false }]
  const introspect = { target, path: '/introspect', form: introspectForm(clientSecret) }
  // Issued tokens can be had only by exchanging; the cheapest way is with tokens that are known already.
  const collect = async (list: string, count: number) => {
    await generator.mint('sources', WARM_TOKENS)
    await saturate(generator, { ...exchange, list: 'sources', warm: true }, FILL_SECONDS, {
      limit: count,
      collect: list,
    })
  }
  return [
    { ...exchange, id: 'rolemint exchange cold', warm: false },
    { ...exchange, id: 'rolemint exchange warm', warm: true },
    {
      ...introspect,
      id: 'rolemint introspect cold',
      list: 'issued',
      warm: false,
      fill: (count) => collect('issued', count),
    },
    {
      ...introspect,
      id: 'rolemint introspect warm',
      list: 'issued warm',
      warm: true,
      fill: (count) => collect('issued warm', count),
    },
  ]
}

/** Everything the peer is asked. It has no cache, so cold and warm are the same to it. */
export function peerScenarios(generator: Generator, target: Target, clientSecret: string) {
  const opaqueForm = open('padding', {
    grant_type: OPAQUE_GRANT,
    client_id: BENCH_CLIENT,
    client_secret: clientSecret,
  })
  const scenarios: Scenario[] = [
    {
      id: 'peer exchange',
      target,
      path: '/token',
      form: exchangeForm(clientSecret, 'resource'),
      list: 'subjects',
      warm: false,
      fill: (count) => generator.mint('subjects', count),
    },
    {
      id: 'peer introspect',
      target,
      path: '/token/introspection',
      form: introspectForm(clientSecret),
      list: 'opaque',
      warm: true,
      async fill(count) {
        await generator.mint('sources', count)
        const issue = { target, path: '/token', form: opaqueForm, list: 'sources', warm: false }
        await saturate(generator, issue, FILL_SECONDS, { collect: 'opaque' })
      },
    },
  ]
  return scenarios
}

/** Fills the scenario's list for a run of `seconds` at about `perSecond`. */
export async function fillFor(scenario: Scenario, perSecond: number, seconds: number) {
  // A third more than needed: a run that ends early for want of tokens is only shorter, but that costs precision.
  await scenario.fill(scenario.warm ? WARM_TOKENS : Math.ceil(perSecond * seconds * 1.33))
}

/** Sends as much as the server takes. */
export function saturate(
  generator: Generator,
  scenario: Omit<Scenario, 'id' | 'fill'>,
  seconds: number,
  more: { readonly limit?: number; readonly collect?: string } = {},
): Promise<LoadResult> {
  const { target, path, form, list, warm } = scenario
  const connections = SATURATING_CONNECTIONS
  return generator.run({ ...target, path, form, list, cycle: warm, connections, seconds, ...more })
}

/** Sends at a fixed rate, whatever the server does. */
export function pace(
  generator: Generator,
  scenario: Omit<Scenario, 'id' | 'fill'>,
  seconds: number,
  arrivals: { readonly perSecond: number; readonly seed: number },
): Promise<LoadResult> {
  const { target, path, form, list, warm } = scenario
  const connections = OPEN_CONNECTIONS
  return generator.run({
    ...target,
    path,
    form,
    list,
    cycle: warm,
    connections,
    seconds,
    ...arrivals,
  })
}
