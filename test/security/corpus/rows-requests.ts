/** Rows 48-50 and 55-60: what is asked for, and how. */
import type { RefusalCode } from '../../../src/lib/refusal.ts'
import { type Answer, API, CLIENT, EXCHANGE, encode } from '../../fakes/sts.ts'
import { basic, goodForm, json, send } from './doors.ts'
import { rawPost } from './raw.ts'
import type { CorpusWorld } from './world.ts'

/** A request and the refusal that has to come of it. */
export interface RequestCase {
  readonly row: number
  readonly name: string
  readonly send: (world: CorpusWorld) => Promise<Answer>
  readonly code: RefusalCode
  readonly status?: number
  /** Value of the `Allow` header. */
  readonly allow?: string
}

type Form = Readonly<Record<string, string | readonly string[]>>
const FORM = 'application/x-www-form-urlencoded'

const cases = (
  row: number,
  code: RefusalCode,
  named: Readonly<Record<string, RequestCase['send']>>,
  more: Partial<RequestCase> = {},
): readonly RequestCase[] =>
  Object.entries(named).map(([name, sendIt]) => ({ row, code, name, send: sendIt, ...more }))

/** The same parameters as a form at /token and as JSON at /v1/token/exchange. */
const both = (
  row: number,
  code: RefusalCode,
  named: Readonly<Record<string, Form>>,
): readonly RequestCase[] => [
  ...cases(
    row,
    code,
    mapped(named, (over) => (world) => world.sts.token({ ...goodForm(world), ...over })),
  ),
  ...cases(
    row,
    code,
    mapped(
      named,
      (over) => (world) => {
        const { grant_type: _, ...rest } = goodForm(world)
        return json(world, { authorization: basic(world) }, { ...rest, ...over })
      },
      ' (JSON)',
    ),
  ),
]

function mapped(
  named: Readonly<Record<string, Form>>,
  make: (form: Form) => RequestCase['send'],
  suffix = '',
): Readonly<Record<string, RequestCase['send']>> {
  return Object.fromEntries(
    Object.entries(named).map(([name, form]) => [name + suffix, make(form)]),
  )
}

const resources = (...list: readonly string[]): Readonly<Record<string, Form>> =>
  Object.fromEntries(list.map((resource) => [JSON.stringify(resource), { resource }]))

/** POST /token as the client with this text as the body. */
const raw =
  (
    body: string | ((world: CorpusWorld) => string),
    headers: Readonly<Record<string, string>> = { 'content-type': FORM },
    path = '/token',
  ): RequestCase['send'] =>
  (world) =>
    send(world, path, {
      method: 'POST',
      headers: { authorization: basic(world), ...headers },
      body: typeof body === 'string' ? body : body(world),
    })
const formText = (world: CorpusWorld): string => encode(goodForm(world)).toString()
const method =
  (name: string, path: string): RequestCase['send'] =>
  (world) =>
    send(world, path, {
      method: name,
      headers: { authorization: basic(world), 'content-type': FORM },
      ...(name === 'GET' ? {} : { body: formText(world) }),
    })
const withoutGrant =
  (grant: Form): RequestCase['send'] =>
  (world) => {
    const { grant_type: _, ...rest } = goodForm(world)
    return world.sts.token({ ...rest, ...grant })
  }
const as =
  (client: string, path: '/token' | '/introspect'): RequestCase['send'] =>
  (world) =>
    send(world, path, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`${client}:${world.sts.clientSecret}`).toString('base64')}`,
      },
      body: encode(path === '/token' ? goodForm(world) : { token: world.own.token() }),
    })

const twoAuthorizations: RequestCase['send'] = (world) =>
  rawPost(
    `${world.sts.url}/token`,
    [
      'Host',
      'x',
      'Authorization',
      basic(world),
      'Authorization',
      basic(world),
      'Content-Type',
      FORM,
    ],
    formText(world),
  )

export const REQUEST_ROWS: readonly RequestCase[] = [
  ...both(48, 'scope_not_allowed', {
    'a scope that the client may not ask for': { scope: 'admin' },
    'one that it may, and one that it may not': { scope: 'read admin' },
    'a scope in other letters': { scope: 'READ' },
    'a wildcard': { scope: '*' },
    'a name that every object has': { scope: 'constructor' },
  }),
  ...both(48, 'malformed_request', {
    'two spaces': { scope: 'read  write' },
    'a quote': { scope: 'read"' },
    'a tab': { scope: 'read\twrite' },
    'more than sixty-four': { scope: Array.from({ length: 65 }, (_, n) => `s${n}`).join(' ') },
  }),
  ...cases(48, 'scope_not_allowed', {
    'a scope that the token of ours does not carry': async (world) => {
      const narrow = await world.sts.exchange({
        subject_token: world.subject.token(),
        scope: 'read',
      })
      return world.sts.token({ ...goodForm(world), subject_token: narrow, scope: 'read write' })
    },
  }),

  ...both(49, 'target_not_allowed', {
    unknown: { audience: 'https://unknown.example' },
    'a wildcard': { audience: '*' },
    'a prefix of an allowed one': { audience: API.slice(0, -1) },
    'an allowed one with a slash': { audience: `${API}/` },
    'in capitals': { audience: API.toUpperCase() },
    'an allowed one and another': { audience: [API, 'https://unknown.example'] },
    'another as resource beside an allowed one': {
      audience: API,
      resource: 'https://unknown.example',
    },
    'two in one value': { audience: `${API} https://other.acme.example` },
    'nine of them': { audience: Array.from({ length: 9 }, (_, n) => `https://a${n}.example`) },
    __proto__: { audience: '__proto__' },
    'our own issuer': { audience: 'https://sts.acme.example' },
  }),

  ...both(
    50,
    'target_not_allowed',
    resources(
      '/api',
      'api.acme.example',
      '//api.acme.example',
      'https:',
      `${API}#fragment`,
      `${API}/#`,
      'https://user@api.acme.example',
      'https://user:secret@api.acme.example',
      'https://api.acme.example@evil.example',
      'https://аpi.acme.example',
      'https://xn--pi-7kc.acme.example',
      'HTTPS://API.ACME.EXAMPLE',
      'https://api.acme.example:443',
      'https://api.acme.example/../',
      'https://api.acme.example%2f',
      'https://api.acme.example\\@evil.example',
      ' https://api.acme.example',
      'https://api.acme.example\n',
      'javascript:alert(1)',
      'urn:x',
    ),
  ),

  ...cases(55, 'client_auth_failed', {
    'a disabled client with its right secret': as('disabled-web', '/token'),
    'a disabled client at /introspect': as('disabled-web', '/introspect'),
  }),

  ...cases(
    57,
    'malformed_request',
    Object.fromEntries(
      [
        'grant_type',
        'subject_token',
        'subject_token_type',
        'client_id',
        'scope',
        'requested_token_type',
        'unheard_of',
      ].map((name) => [`${name} twice`, raw((world) => `${formText(world)}&${name}=x&${name}=x`)]),
    ),
  ),
  ...cases(57, 'malformed_request', {
    'subject_token twice, alike': raw((world) => {
      const token = world.subject.token()
      return `${formText(world)}&subject_token=${token}`
    }),
    'subject_token twice, once percent-encoded': raw(
      (world) => `${formText(world)}&%73ubject_token=${world.subject.token()}`,
    ),
    'grant_type in query and body': raw(
      formText,
      undefined,
      `/token?grant_type=${encodeURIComponent(EXCHANGE)}`,
    ),
    'client_id in the query': raw(formText, undefined, `/token?client_id=${CLIENT}`),
    'subject_token twice in JSON': (world) =>
      json(
        world,
        { authorization: basic(world) },
        `{"subject_token":"a.b.c","subject_token":"${world.subject.token()}"}`,
      ),
    'subject_token as bearer and in the body': (world) =>
      json(
        world,
        { authorization: `Bearer ${world.subject.token()}` },
        {
          subject_token: world.subject.token(),
          client_id: CLIENT,
          client_secret: world.sts.clientSecret,
        },
      ),
    'token twice at /introspect': raw(
      (world) => `token=${world.own.token()}&token=x`,
      undefined,
      '/introspect',
    ),
    'a token in the query at /introspect': raw('token=a', undefined, '/introspect?token=b'),
    'more than a hundred parameters': raw((world) => `${formText(world)}${'&a=b'.repeat(101)}`),
    'a percent sign that begins no escape': raw((world) => `${formText(world)}&scope=%zz`),
    'an escape that is no UTF-8': raw((world) => `${formText(world)}&scope=%ff`),
  }),
  ...cases(57, 'client_auth_failed', { 'two Authorization headers': twoAuthorizations }),

  ...cases(
    58,
    'method_not_allowed',
    {
      'GET /token': method('GET', '/token'),
      'PUT /token': method('PUT', '/token'),
      'DELETE /token': method('DELETE', '/token'),
      'PATCH /token': method('PATCH', '/token'),
      'GET /token with everything in the query': (world) =>
        send(world, `/token?${formText(world)}`, { headers: { authorization: basic(world) } }),
      'GET /introspect': method('GET', '/introspect'),
      'GET /v1/token/exchange': method('GET', '/v1/token/exchange'),
    },
    { allow: 'POST' },
  ),
  ...cases(
    58,
    'unsupported_media_type',
    {
      'JSON at /token': raw('{}', { 'content-type': 'application/json' }),
      'multipart at /token': raw('--x\r\n', { 'content-type': 'multipart/form-data; boundary=x' }),
      'text/plain at /token': raw(formText, { 'content-type': 'text/plain' }),
      'Latin-1 at /token': raw(formText, { 'content-type': `${FORM}; charset=iso-8859-1` }),
      'UTF-16 at /token': raw(formText, { 'content-type': `${FORM}; charset=utf-16` }),
      'gzip at /token': raw(formText, { 'content-type': FORM, 'content-encoding': 'gzip' }),
      'JSON at /introspect': raw(
        '{"token":"a"}',
        { 'content-type': 'application/json' },
        '/introspect',
      ),
    },
    { status: 400 },
  ),
  ...cases(58, 'unsupported_media_type', {
    'a form at the JSON API': raw(formText, { 'content-type': FORM }, '/v1/token/exchange'),
    'text/json at the JSON API': raw('{}', { 'content-type': 'text/json' }, '/v1/token/exchange'),
    'Latin-1 at the JSON API': raw(
      '{}',
      { 'content-type': 'application/json; charset=latin1' },
      '/v1/token/exchange',
    ),
  }),
  ...cases(58, 'malformed_request', {
    'a token in the query': raw((world) => formText(world), undefined, '/token?subject_token=a'),
    'an access token in the query (RFC 6750 §2.3)': raw(
      formText,
      undefined,
      '/token?access_token=a',
    ),
    'a body that is no UTF-8': (world) =>
      send(world, '/token', {
        method: 'POST',
        headers: { authorization: basic(world), 'content-type': FORM },
        body: Buffer.concat([Buffer.from(formText(world)), Buffer.from('&scope=\xff', 'latin1')]),
      }),
    'an empty body': raw(''),
    'a JSON list': raw('[]', { 'content-type': 'application/json' }, '/v1/token/exchange'),
    'half a JSON object': raw(
      '{"subject_token":',
      { 'content-type': 'application/json' },
      '/v1/token/exchange',
    ),
    'a JSON number for a token': (world) =>
      json(world, { authorization: basic(world) }, { subject_token: 7 }),
    'a JSON list for a token': (world) =>
      json(world, { authorization: basic(world) }, { subject_token: [world.subject.token()] }),
    'a JSON object for a token': (world) =>
      json(world, { authorization: basic(world) }, { subject_token: {} }),
    'a JSON object for an audience': (world) =>
      json(
        world,
        { authorization: basic(world) },
        { subject_token: world.subject.token(), audience: {} },
      ),
    'JSON nested a thousand deep': raw(
      `{"a":${'['.repeat(1000)}${']'.repeat(1000)}}`,
      { 'content-type': 'application/json' },
      '/v1/token/exchange',
    ),
    'no subject token': (world) => json(world, { authorization: basic(world) }, {}),
    'no token at /introspect': raw('token_type_hint=access_token', undefined, '/introspect'),
  }),

  ...cases(59, 'malformed_request', {
    'no grant_type': withoutGrant({}),
    'an empty grant_type': withoutGrant({ grant_type: '' }),
  }),
  ...cases(59, 'unsupported_grant', {
    ...Object.fromEntries(
      [
        'password',
        'implicit',
        'client_credentials',
        'authorization_code',
        'refresh_token',
        'urn:ietf:params:oauth:grant-type:jwt-bearer',
        'urn:ietf:params:oauth:grant-type:device_code',
        EXCHANGE.toUpperCase(),
        `${EXCHANGE} `,
        'token-exchange',
        '__proto__',
      ].map((grant) => [grant, withoutGrant({ grant_type: grant })]),
    ),
    'password with a user name': (world) =>
      world.sts.token({
        grant_type: 'password',
        username: 'ada',
        password: 'a-long-pass-phrase-of-ada',
      }),
  }),

  ...cases(60, 'grant_not_allowed', {
    'a client without the exchange grant': as('mute-web', '/token'),
    'a client without the introspect grant': as('mute-web', '/introspect'),
  }),
]
