/** One decision function: what preview says is what an exchange does, whatever the case. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createMemoryLedger } from '../../src/adapters/memory/ledger.ts'
import type { Client } from '../../src/client/options.ts'
import type { ExchangeDeps } from '../../src/exchange/deps.ts'
import { createExchange } from '../../src/exchange/exchange.ts'
import { createPreview } from '../../src/exchange/preview.ts'
import { createRecords } from '../../src/exchange/records.ts'
import { createIssuing } from '../../src/exchange/response.ts'
import type { Keys } from '../../src/keys/keys.ts'
import { createSystemRandom } from '../../src/lib/id.ts'
import { isRefusal, Refusal } from '../../src/lib/refusal.ts'
import { Secret } from '../../src/lib/secret.ts'
import { createMetrics } from '../../src/observe/metrics.ts'
import { createPolicyRules } from '../../src/policy/decide.ts'
import type { Evidence } from '../../src/policy/decision.ts'
import type { Tenant } from '../../src/tenant/tenant.ts'
import {
  aClient,
  anyClient,
  anyEvidence,
  anyTenant,
  aTenant,
  NOW,
  someEvidence,
} from '../fakes/policy.ts'

const CASES = 10_000
const silent = { debug() {}, info() {}, warn() {}, error() {} }
const clock = { now: () => NOW * 1000 }
const TOKEN = { token: new Secret('token'), type: 'jwt' as const }

/** A key ring that signs with nothing: signatures are not what is compared. */
const unsigned: Pick<Keys, 'algorithmFor' | 'signingKey' | 'sign'> = {
  algorithmFor: () => 'ES256',
  signingKey: (tenant, alg) => ({
    tenant,
    kid: 'k1',
    alg,
    signUntil: Infinity,
    unreported: { signatures: 0, lastAt: 0 },
  }),
  sign: () => Buffer.alloc(64),
}

/** Both flows over the same parts; the verified subject and the roles are those of the evidence. */
function flowsFor(
  client: Client,
  evidence: Evidence,
  subject: ExchangeDeps['subjects']['subject'] = async () => ({
    evidence: evidence.subject,
    usableUntil: NOW + 60,
    claims: [],
    kid: 'idp-1',
    alg: 'ES256',
  }),
) {
  const deciding: Pick<ExchangeDeps, 'rules' | 'subjects' | 'entitlements' | 'clock'> = {
    rules: createPolicyRules(),
    subjects: {
      subject,
      actor: async () => assert.fail('no actor is brought'),
    },
    entitlements: async () => evidence.entitlements,
    clock,
  }
  const random = createSystemRandom()
  const exchange = createExchange({
    cutOff: () => false,
    mustBeSure: () => undefined,
    ...deciding,
    authenticateClient: async () => ({ client, method: 'client_secret_basic', claims: [] }),
    admission: {
      door: () => undefined,
      full: () => undefined,
      client: () => ({ subject: () => undefined, headers: {} }),
    },
    records: createRecords({
      ledger: createMemoryLedger({ clock }),
      clock,
      random,
      log: silent,
      metrics: METRICS,
    }),
    issuing: createIssuing({ keys: unsigned, random }),
  })
  return { exchange, preview: createPreview(deciding) }
}

const METRICS = createMetrics({ defaults: false })

async function issued(tenant: Tenant, client: Client, evidence: Evidence) {
  const { exchange } = flowsFor(client, evidence)
  const request = {
    credentials: {},
    subject: TOKEN,
    actor: undefined,
    wanted: { ...evidence.request, expiresIn: undefined },
    traceId: '0',
  }
  try {
    const { accessToken } = await exchange(tenant, request, new AbortController().signal)
    const payload: Record<string, unknown> = JSON.parse(
      Buffer.from(accessToken.reveal().split('.')[1] ?? '', 'base64url').toString(),
    )
    return { payload }
  } catch (error) {
    if (isRefusal(error)) return { refused: error.code }
    throw error
  }
}

test(`preview equals issue on ${CASES.toLocaleString('en')} random cases`, async (t) => {
  let grants = 0
  await fc.assert(
    fc.asyncProperty(
      anyClient.chain((client) => fc.tuple(fc.constant(client), anyTenant(client), anyEvidence)),
      async ([client, tenant, { actor: _actor, ...evidence }]) => {
        const { preview } = flowsFor(client, evidence)
        const { targets, scopes } = evidence.request
        const question = { clientId: client.id, targets, scopes, subject: TOKEN }
        const decision = await preview(tenant, question, new AbortController().signal)
        const outcome = await issued(tenant, client, evidence)
        if (decision.outcome === 'refuse') {
          assert.deepEqual(outcome, { refused: decision.code })
          return
        }
        grants += 1
        const { grant } = decision
        const { payload = {} } = outcome
        assert.deepEqual(
          {
            sub: payload['sub'],
            aud: [payload['aud']].flat(),
            roles: payload['roles'],
            scope: payload['scope'] ?? '',
            iat: payload['iat'],
            exp: payload['exp'],
            session: payload['session_exp'],
            act: payload['act'],
            lineage: payload['lineage'],
            idp: payload['idp'],
            upn: payload['upn'],
            origin: payload['origin_jti'] === payload['jti'] ? undefined : payload['origin_jti'],
            entitlements: payload['entitlements'],
          },
          {
            sub: grant.sub,
            aud: grant.aud,
            roles: grant.roles,
            scope: grant.scopes.join(' '),
            iat: grant.iat,
            exp: grant.exp,
            session: grant.sessionExp,
            act: grant.act,
            lineage: grant.lineage,
            idp: grant.idp,
            upn: grant.upn,
            origin: grant.originJti,
            entitlements: grant.entitlements,
          },
        )
      },
    ),
    { numRuns: CASES, seed: 42 },
  )
  t.diagnostic(`${grants} grants, ${CASES - grants} refusals`)
  assert.ok(grants > 500, 'enough cases end in a grant')
})

test('a target that is not allowed is named before a token that is not genuine, by both', async () => {
  const client = aClient()
  const evidence = someEvidence({ request: { targets: ['https://evil.example'] } })
  const tenant = aTenant({ client })
  const { exchange, preview } = flowsFor(client, evidence, async () => {
    throw new Refusal('invalid_signature', 'forged')
  })
  const signal = new AbortController().signal
  const question = { clientId: client.id, targets: evidence.request.targets, subject: TOKEN }
  const decision = await preview(tenant, question, signal)
  assert.equal(decision.outcome === 'refuse' && decision.code, 'target_not_allowed')
  const request = {
    credentials: {},
    subject: TOKEN,
    actor: undefined,
    wanted: evidence.request,
    traceId: '0',
  }
  await assert.rejects(exchange(tenant, request, signal), (error) =>
    isRefusal(error, 'target_not_allowed'),
  )
})
