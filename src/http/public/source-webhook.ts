import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import Type from 'typebox'
import type { EntitlementLookup } from '../../entitlement/lookup.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Rate } from '../../lib/duration.ts'
import { type Bucket, gcra } from '../../lib/gcra.ts'
import { Refusal } from '../../lib/refusal.ts'
import { Secret } from '../../lib/secret.ts'
import { JSON_TYPE, parseJsonBody } from '../json-body.ts'
import type { ParameterFacts } from '../operation.ts'
import { tenantOf } from '../request-scope.ts'
import { NO_STORE } from '../route.ts'
import type { PublicRoute } from './route.ts'

/** What the webhook of sources asks. */
export interface SourceWebhookDeps {
  readonly entitlements: Pick<EntitlementLookup, 'purge'>
  readonly clock: Clock
}

const MOST_USERS = 100
const LONGEST_USER = 1024

const CHANGED = Type.Object({
  users: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: LONGEST_USER }), {
      minItems: 1,
      maxItems: MOST_USERS,
      description: 'Whose roles changed, as the source names them. Left out: anybody may have.',
    }),
  ),
  type: Type.Optional(Type.String({ description: 'Ignored.' })),
  timestamp: Type.Optional(Type.String({ description: 'Ignored.' })),
})

const HEADERS: readonly ParameterFacts[] = [
  ['webhook-id', 'Id of the message; without a dot.'],
  ['webhook-timestamp', 'When it was sent, seconds since the epoch; within 5 minutes of now.'],
  [
    'webhook-signature',
    'v1, and the base64 HMAC-SHA256 of id.timestamp.body; several with spaces.',
  ],
].map(([name = '', description = '']) => ({
  name,
  description,
  in: 'header' as const,
  required: true,
  schema: Type.String(),
}))

/**
 * POST /v1/sources/{source}/changed: a source says that roles changed, and they are asked for anew when they are next needed.
 *
 * A call can only make us ask again, and no call brings roles along. So a replay within the tolerance does no harm but a few look-ups, and
 * those are bounded: by the pace below, and as purged answers are loaded on demand only.
 *
 * @see {@link https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md Standard Webhooks}
 */
export function sourceWebhookRoute({ entitlements, clock }: SourceWebhookDeps): PublicRoute {
  const mustKeepPace = createPace(clock)
  // For sources that may not call: the work is the same as for one that may, so that nobody learns which exist.
  const nobodysKey = new Secret(randomBytes(32))
  return {
    method: 'POST',
    path: '/v1/sources/:source/changed',
    errors: 'api',
    cors: false,
    operation: {
      id: 'sourceChanged',
      summary: 'Tell that roles at an entitlement source changed',
      description:
        'Signed as Standard Webhooks describes, with sources.SOURCE.webhook.secret. Tokens that were issued live on.',
      security: [],
      parameters: [
        {
          name: 'source',
          in: 'path',
          description: 'Name of the source.',
          schema: Type.String(),
        },
        ...HEADERS,
      ],
      request: { type: JSON_TYPE, schema: CHANGED },
      answers: { 204: { description: 'Taken down.' } },
      refusals: [400, 401, 404, 413, 415, 429, 500, 503],
    },
    async handle(call, signal) {
      const tenant = tenantOf(call.scope)
      // What authenticates here is in headers of its own; offering Basic authentication would mislead.
      call.scope.credentialInBody = true
      const source = tenant.sources.find(({ name }) => name === call.params['source'])
      const key = source?.webhookKey
      const isSigned = isSignedBy(key ?? nobodysKey, call.headers, call.body, clock.now())
      if (!source || !key || !isSigned) throw notSigned()
      const users = usersOf(parseJsonBody(call.headers, call.body))
      mustKeepPace(`${tenant.name}/${source.name}`, users === undefined ? CALLS_ABOUT_ALL : CALLS)
      const what = { tenant: tenant.name, source: source.name }
      const purges = users?.map((user) => ({ ...what, user })) ?? [what]
      const done = await Promise.all(purges.map((purge) => entitlements.purge(purge, signal)))
      if (done.some(({ shared }) => shared === false)) {
        throw new Refusal(
          'entitlements_unavailable',
          'The change was noted here, but other replicas could not be told; send it again.',
        )
      }
      return { status: 204, headers: NO_STORE, body: undefined }
    },
  }
}

const TOLERANCE_SECONDS = 300
/** More signatures than any rotation needs are an attempt to make us work. */
const MOST_SIGNATURES = 10
/** No dot: it ends the id in what is signed, and an id with one could be read in two ways. */
const ID = /^[\x21-\x2d\x2f-\x7e]{1,256}$/
const SECONDS = /^[0-9]{1,12}$/

/** True when the source that holds the key sent this, within the tolerance. Time depends on the key and the body alone. */
function isSignedBy(
  key: Secret<Buffer>,
  headers: IncomingHttpHeaders,
  body: Buffer = Buffer.alloc(0),
  now: number,
): boolean {
  const [id, timestamp, signatures] = [
    headers['webhook-id'],
    headers['webhook-timestamp'],
    headers['webhook-signature'],
  ].map((value) => (typeof value === 'string' ? value : ''))
  const mac = createHmac('sha256', key.reveal())
  mac.update(`${id ?? ''}.${timestamp ?? ''}.`)
  const expected = mac.update(body).digest()
  if (!ID.test(id ?? '') || !SECONDS.test(timestamp ?? '')) return false
  if (Math.abs(now / 1000 - Number(timestamp)) > TOLERANCE_SECONDS) return false
  const given = (signatures ?? '').split(' ')
  if (given.length > MOST_SIGNATURES) return false
  // All are compared, so that how long it takes does not tell which one fits.
  return given.filter((signature) => isMac(signature, expected)).length > 0
}

function isMac(signature: string, expected: Buffer): boolean {
  // Other versions, e.g. v1a for public keys, may stand beside ours.
  if (!signature.startsWith('v1,')) return false
  const given = Buffer.from(signature.slice('v1,'.length), 'base64')
  return given.length === expected.length && timingSafeEqual(given, expected)
}

function notSigned(): Refusal {
  return new Refusal('client_auth_failed', 'The call was not signed by a source that may call.', {
    headers: { 'www-authenticate': 'StandardWebhooks' },
  })
}

/** The users named; undefined for all. @throws {Refusal} `malformed_request`: a mistake must not be read as "all". */
function usersOf(body: Readonly<Record<string, unknown>>): readonly string[] | undefined {
  const { users, type: _type, timestamp: _timestamp, ...others } = body
  if (Object.keys(others).length > 0)
    throw new Refusal('malformed_request', 'The body had a member other than users.')
  if (users === undefined) return undefined
  const list: readonly unknown[] = Array.isArray(users) ? users : []
  const named = list.filter((user): user is string => typeof user === 'string' && user !== '')
  const isGood =
    named.length === list.length &&
    named.length > 0 &&
    named.length <= MOST_USERS &&
    named.every(({ length }) => length <= LONGEST_USER)
  if (isGood) return named
  throw new Refusal('malformed_request', 'The member users was not a list of 1 to 100 users.', {
    param: 'users',
  })
}

/** One call a second for each source, sixty at once: more would keep its cache empty, and so the source under load. */
const CALLS: Rate = { count: 60, perMilliseconds: 60_000 }
/** A purge of all makes every user of the source be asked about again. */
const CALLS_ABOUT_ALL: Rate = { count: 6, perMilliseconds: 60_000 }

/** Counts the calls of each source; there are as many as are configured. */
function createPace(clock: Clock): (source: string, rate: Rate) => void {
  const buckets = new Map<string, Bucket>()
  return (source, rate) => {
    const key = `${source} ${rate.count}`
    const { bucket, waitMilliseconds } = gcra(buckets.get(key), clock.now(), rate)
    buckets.set(key, bucket)
    if (waitMilliseconds === 0) return
    throw new Refusal('rate_limited', 'The source called too often; send it again later.', {
      retryAfterSeconds: Math.ceil(waitMilliseconds / 1000),
    })
  }
}
