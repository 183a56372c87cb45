import { LRUCache } from 'lru-cache'
import type { Claim, Ledger, LedgerEntry } from '../audit/ledger.ts'
import { notAuthenticated } from '../client/failure.ts'
import type { Client } from '../client/options.ts'
import type { Clock } from '../lib/clock.ts'
import { newTokenId, type Random } from '../lib/id.ts'
import { isRefusal, Refusal, type RefusalCode } from '../lib/refusal.ts'
import type { Log } from '../observe/log.ts'
import type { Metrics } from '../observe/metrics.ts'
import type { Decision, Evidence } from '../policy/decision.ts'
import type { VerifiedSubject } from '../subject/verified.ts'
import type { Tenant } from '../tenant/tenant.ts'
import type { ExchangeRequest } from './request.ts'
import type { UnsignedToken } from './response.ts'

/** Begins the record of a request; what becomes known on the way is told to it. */
export interface Records {
  begin(tenant: Tenant, request: ExchangeRequest): RequestRecord
}

/** The record of one request: exactly one entry comes of it, `issued` or `refused`. */
export interface RequestRecord {
  client(client: Client, claims: readonly Claim[]): void
  subject(subject: VerifiedSubject): void
  decision(evidence: Evidence, decision: Decision): void
  /**
   * Makes the issue durable with the ids that may be used once.
   * @throws {Refusal} `replayed`, `upn_conflict` or `client_auth_failed` when such an id is taken; `ledger_unavailable` when durability is not certain.
   */
  issued(unsigned: UnsignedToken, claims: readonly Claim[], signal: AbortSignal): Promise<void>
  /** Records why nothing was issued. Never throws: a refusal stays the same refusal when the ledger is down. */
  refused(error: unknown, signal: AbortSignal): Promise<void>
}

/** What records are made with. */
export interface RecordsDeps {
  readonly ledger: Ledger
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly metrics: Metrics
}

/** Clients remembered for {@link SAME_REFUSAL_MILLISECONDS}. */
const MAX_REFUSED_CLIENTS = 10_000
/** One entry in this time tells of all refusals of a client for its rate: the metric counts them, and a flood must not fill the ledger. */
const SAME_REFUSAL_MILLISECONDS = 1000
/** For the record of a request that is over already. */
const LATE_RECORD_MILLISECONDS = 2000

/** Says of a refusal for a client's rate whether it is to be recorded. */
type Worth = (client: string, now: number) => boolean

/** Records requests in the ledger. */
export function createRecords(deps: RecordsDeps): Records {
  let last: LRUCache<string, number> | undefined
  const isWorth: Worth = (client, now) => {
    last ??= new LRUCache({ max: MAX_REFUSED_CLIENTS })
    const before = last.get(client)
    // A clock set back records again at once.
    if (before !== undefined && now >= before && now < before + SAME_REFUSAL_MILLISECONDS)
      return false
    last.set(client, now)
    return true
  }
  return { begin: (tenant, request) => new ExchangeRecord(deps, isWorth, tenant, request) }
}

class ExchangeRecord implements RequestRecord {
  readonly #deps: RecordsDeps
  readonly #isWorth: Worth
  readonly #tenant: Tenant
  readonly #request: ExchangeRequest
  #client: Client | undefined
  #subject: VerifiedSubject | undefined
  #evidence: Evidence | undefined
  #decision: Decision | undefined
  /** Ids of the client's assertion: burnt by a refusal too, or a refused request could be replayed until it succeeds. */
  #toBurn: readonly Claim[] = []

  constructor(deps: RecordsDeps, isWorth: Worth, tenant: Tenant, request: ExchangeRequest) {
    this.#deps = deps
    this.#isWorth = isWorth
    this.#tenant = tenant
    this.#request = request
  }

  client(client: Client, claims: readonly Claim[]): void {
    this.#client = client
    this.#toBurn = claims
  }

  subject(subject: VerifiedSubject): void {
    this.#subject = subject
  }

  decision(evidence: Evidence, decision: Decision): void {
    this.#evidence = evidence
    this.#decision = decision
  }

  async issued(
    unsigned: UnsignedToken,
    claims: readonly Claim[],
    signal: AbortSignal,
  ): Promise<void> {
    const entry: LedgerEntry = {
      ...this.#common(unsigned.jti, 'issued'),
      digest: unsigned.digest,
      kid: unsigned.key.kid,
      exp: unsigned.grant.exp,
      details: this.#details(unsigned.claims),
    }
    // Whatever comes of it, these ids are spent: the append takes them even when another of its claims conflicts.
    this.#toBurn = []
    const began = performance.now()
    const result = await this.#deps.ledger.append(entry, claims, signal).catch((cause: unknown) => {
      throw new Refusal(
        'ledger_unavailable',
        'The exchange could not be recorded, so no token was made; retry later.',
        {
          cause,
          retryAfterSeconds: 2,
        },
      )
    })
    this.#deps.metrics.ledgerAppend((performance.now() - began) / 1000)
    if (!result.recorded) throw conflictRefusal(result.conflict)
    this.#deps.metrics.exchange(this.#tenant.name, 'issued')
  }

  async refused(error: unknown, signal: AbortSignal): Promise<void> {
    const code: RefusalCode = isRefusal(error) ? error.code : 'internal'
    const { metrics, random } = this.#deps
    metrics.exchange(this.#tenant.name, code)
    if (code === 'rate_limited' && !this.#isRecorded()) return
    const entry: LedgerEntry = {
      ...this.#common(newTokenId(random), 'refused'),
      code,
      details: this.#details(),
    }
    if (signal.aborted) {
      // The caller whose time is up, or that is gone, waits for nothing more; what became of its request is recorded all the same.
      // Unless the ledger itself took the time.
      if (code !== 'ledger_unavailable')
        void this.#record(entry, AbortSignal.timeout(LATE_RECORD_MILLISECONDS))
      return
    }
    await this.#record(entry, signal)
  }

  /** Never rejects. */
  async #record(entry: LedgerEntry, signal: AbortSignal): Promise<void> {
    const { ledger, log } = this.#deps
    try {
      await ledger.append(entry, this.#toBurn, signal)
    } catch (failure) {
      log.error(
        {
          err: failure,
          tenant: this.#tenant.name,
          code: entry.code,
          requestId: this.#request.traceId,
        },
        'refusal not recorded',
      )
    }
  }

  /** Whether a refusal for a client's rate is recorded: the first of a while, and any that spends an id. */
  #isRecorded(): boolean {
    const client = `${this.#tenant.name}\0${this.#client?.id ?? ''}`
    return this.#isWorth(client, this.#deps.clock.now()) || this.#toBurn.length > 0
  }

  #common(id: string, event: 'issued' | 'refused') {
    const subject = this.#subject?.evidence
    return {
      id,
      event,
      tenant: this.#tenant.name,
      at: this.#deps.clock.now(),
      traceId: this.#request.traceId,
      ...(this.#client ? { client: this.#client.id } : {}),
      ...(subject ? { sub: subject.sub } : {}),
      ...(subject?.upn === undefined ? {} : { upn: subject.upn }),
    }
  }

  #details(claims?: Readonly<Record<string, unknown>>) {
    return {
      ...(claims ? { claims } : {}),
      ...(this.#evidence ? { evidence: this.#evidence } : {}),
      ...(this.#decision ? { trace: this.#decision.trace } : {}),
    }
  }
}

/** What it means that somebody else holds a claim. */
function conflictRefusal(claim: Claim): Refusal {
  if (claim.kind === 'pin') {
    return new Refusal('upn_conflict', 'The user principal name belongs to another subject.', {
      param: 'subject_token',
    })
  }
  // In the words of every other failure: that an assertion was genuine, and used, is nothing for a thief of one to learn.
  if (claim.scope === 'assertion') return notAuthenticated('assertion replayed')
  return new Refusal('replayed', 'The subject token was already used; get a fresh one.', {
    param: 'subject_token',
  })
}
