/** The exchange, RFC 8693, step by step. docs/exchange.md tells the same story with the same numbers. */
import { decide, decideAsk } from '../policy/decide.ts'
import type { Tenant } from '../tenant/tenant.ts'
import type { ExchangeDeps } from './deps.ts'
import { type ExchangeRequest, gatherEvidence, whileUsable } from './request.ts'
import { answer, type ExchangeResponse, granted, refusalOf, stillUsable } from './response.ts'

/**
 * Exchanges a subject token for a token of ours.
 *
 * @throws {Refusal} with the reason; the refusal is in the ledger by then.
 */
export type Exchange = (
  tenant: Tenant,
  request: ExchangeRequest,
  signal: AbortSignal,
) => Promise<ExchangeResponse>

export function createExchange(deps: ExchangeDeps): Exchange {
  // 1 Whose rules: the edge has resolved the tenant by host and path, since even an error names an issuer.
  return async (tenant, request, signal) => {
    const record = deps.records.begin(tenant, request)
    try {
      // 2 Who asks.
      const { client, claims } = await deps.authenticateClient(
        tenant,
        request.credentials,
        request.subject.token,
        signal,
      )
      record.client(client, claims)

      // 3 May we take this work now. After authentication: before it, anyone could spend a victim's budget by its client_id.
      const admitted = await deps.admission.client(tenant, client.id, signal)

      // 4 What this client may ask for at all: refused before any upstream is asked.
      const rules = deps.rules(tenant, client)
      const denied = decideAsk(rules, request.wanted)
      if (denied) throw refusalOf(denied)

      // 5 For whom, and on whose part: both tokens genuine, brought by whom they were issued to.
      const subject = await deps.subjects.subject(tenant, client, request.subject, signal)
      record.subject(subject)
      const actor =
        request.actor && (await deps.subjects.actor(tenant, client, request.actor, signal))
      await admitted.subject(subject.evidence.sub)

      // 6 What they may do; asked for no longer than the tokens last.
      const inTime = whileUsable(deps.clock, signal, subject, actor)
      const entitlements = await deps.entitlements(tenant, subject.evidence, inTime)

      // 7 What we give: the one decision, from evidence alone.
      const evidence = gatherEvidence(deps.clock, client, request, subject, actor, entitlements)
      const decision = decide(rules, evidence)
      record.decision(evidence, decision)
      const grant = granted(decision)

      // 8 The look-up took time: a token that ran out or was cut off meanwhile is not exchanged.
      stillUsable(deps, tenant, subject, actor)

      // 9 The record, durable before the signature, with the digest of the exact bytes that are signed next.
      const unsigned = deps.issuing.prepare(tenant, grant)
      await record.issued(
        unsigned,
        [...claims, ...subject.claims, ...(actor?.claims ?? [])],
        signal,
      )

      // 10 The signature.
      const token = await deps.issuing.sign(unsigned)

      // 11 The answer.
      return answer(token, grant, request.wanted.requestedTokenType, admitted.headers)
    } catch (error) {
      await record.refused(error, signal)
      throw error
    }
  }
}
