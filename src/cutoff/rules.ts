import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Log } from '../observe/log.ts'
import type { CutoffRule, CutoffStore, NewCutoff } from './store.ts'

/** The cut-off rules as this replica knows them. */
export interface CutoffRules {
  /** Takes in what is new. Called every 250 ms; calls that come while one is under way share it. */
  refresh(signal: AbortSignal): Promise<void>
  /** True when every token that this key of the tenant signed is dead. From memory; ask {@link mustBeFresh} first. */
  isCutOff(tenant: string, kid: string): boolean
  /**
   * @throws {Refusal} `ledger_unavailable` when the rules were read too long ago: a token might have been cut off since, and "active" might
   * be wrong. The code of the ledger, as the rules are in the same store and what can be done about it is the same.
   */
  mustBeFresh(): void
  /** Writes a rule; it holds here when this resolves, and everywhere within a second. */
  add(cutoff: NewCutoff, signal: AbortSignal): Promise<CutoffRule>
  /** How long ago the last successful reading began. */
  ageMilliseconds(): number
}

/** What {@link createCutoffRules} needs. */
export interface CutoffRulesDeps {
  readonly store: CutoffStore
  /** Must never step back, or old rules would pass for fresh. */
  readonly monotonic: Clock
  readonly log?: Log
}

/**
 * Holds all live rules in memory, so that no request waits for the store. Not bounded, as dropping a rule would give back what was cut off:
 * a rule takes about 300 bytes, and an operator writes each of them.
 */
export function createCutoffRules(
  { store, monotonic, log }: CutoffRulesDeps,
  options: () => { readonly stalenessMilliseconds: number },
): CutoffRules {
  const byTenant = new Map<string, Map<string, CutoffRule>>()
  let last: CutoffRule | undefined
  let readAt = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | undefined

  function take(rule: CutoffRule): void {
    const rules = byTenant.get(rule.tenant) ?? new Map<string, CutoffRule>()
    byTenant.set(rule.tenant, rules)
    rules.set(rule.id, rule)
  }

  async function read(signal: AbortSignal): Promise<void> {
    const begun = monotonic.now()
    let rules = await store.since(last === undefined ? 0 : last.seq - 1, signal)
    if (last !== undefined) {
      // The last rule comes again, as a check. A failover to a standby that lags, or a backup restored under a running process, loses
      // rules and gives their numbers to others, which would be taken for known. What was lost stays in force here.
      const isSameStore = isSame(rules[0], last)
      if (!isSameStore) log?.error({ seq: last.seq }, 'the store lost cut-off rules; reading all')
      rules = isSameStore ? rules.slice(1) : await store.since(0, signal)
    }
    while (rules.length > 0) {
      for (const rule of rules) take(rule)
      last = rules.at(-1) ?? last
      rules = last === undefined ? [] : await store.since(last.seq, signal)
    }
    readAt = begun
  }

  return {
    refresh(signal) {
      reading ??= read(signal).finally(() => {
        reading = undefined
      })
      return reading
    },

    isCutOff: (tenant, kid) => byTenant.get(tenant)?.has(kid) ?? false,

    mustBeFresh() {
      if (monotonic.now() - readAt <= options().stalenessMilliseconds) return
      throw new Refusal(
        'ledger_unavailable',
        'The list of cut-off tokens could not be read lately. Try again in a few seconds.',
        { retryAfterSeconds: 2 },
      )
    },

    async add(cutoff, signal) {
      const rule = await store.add(cutoff, signal)
      take(rule) // but it is not the last that was read: others before it may not have been
      return rule
    },

    ageMilliseconds: () => monotonic.now() - readAt,
  }
}

function isSame(rule: CutoffRule | undefined, known: CutoffRule): boolean {
  return (
    rule?.seq === known.seq &&
    rule.tenant === known.tenant &&
    rule.kind === known.kind &&
    rule.id === known.id &&
    rule.at === known.at
  )
}
