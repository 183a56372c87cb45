/** Rows 30, 31 and 36-55: whose keys, and what a genuine token says. */
import {
  type Attack,
  attacks,
  each,
  IDP_DOORS,
  SUBJECT_DOORS,
  withClaims,
  withHeader,
} from './attack.ts'
import type { Forge } from './forge.ts'
import { BAD_SETS, HOSTILE_PLACES } from './hostile.ts'

const FETCHED = [...IDP_DOORS, 'assertion'] as const

/** A token of an IdP, or an assertion of a client, whose keys are at the place of this name. */
const keyedAt =
  (name: string): Attack['spoil'] =>
  (forge, world) => {
    const signer = world.badSets.find((set) => set.name === name)?.signer ?? world.remoteKey
    return forge === world.assertion
      ? world.client(`client-${name}`, signer).token()
      : world.idp(name, signer).token()
  }

const now = (forge: Forge): number => Number(forge.claims()['iat'])
const timed =
  (name: string, seconds: number): Attack['spoil'] =>
  (forge) =>
    forge.token({ [name]: now(forge) + seconds })
/** A claim as it should be, and then changed. */
const changed =
  (name: string, change: (text: string) => unknown): Attack['spoil'] =>
  (forge) =>
    forge.token({ [name]: change(String(forge.claims()[name])) })
const chain = (length: number): object =>
  length === 1 ? { sub: `a${length}` } : { sub: `a${length}`, act: chain(length - 1) }

const NOT_TIMES = ['1800000000', -1, 2 ** 53, null, {}, true, [1_800_000_000], ''] as const

export const CLAIM_ROWS: readonly Attack[] = [
  ...attacks(30, 'invalid_signature', each(BAD_SETS, keyedAt), { doors: FETCHED, outbound: 1 }),
  ...attacks(31, 'idp_keys_unavailable', each(HOSTILE_PLACES, keyedAt), {
    doors: FETCHED,
    outbound: 1,
  }),

  ...attacks(36, 'missing_claim', {
    'no exp': withClaims({ exp: undefined }),
    'no iat': withClaims({ iat: undefined }),
  }),
  ...attacks(
    36,
    'malformed_token',
    each(NOT_TIMES, (exp) => withClaims({ exp })),
  ),
  ...attacks(36, 'malformed_token', {
    'exp of 1e999': (forge) =>
      forge.token(
        {},
        {},
        { rawPayload: JSON.stringify(forge.claims()).replace(/"exp":\d+/, '"exp":1e999') },
      ),
    'exp NaN': (forge) =>
      forge.token(
        {},
        {},
        { rawPayload: JSON.stringify(forge.claims()).replace(/"exp":\d+/, '"exp":NaN') },
      ),
    'nbf a text': withClaims({ nbf: '1' }),
    'nbf null': withClaims({ nbf: null }),
    'iat a text': withClaims({ iat: '1800000000' }),
    'iat null': withClaims({ iat: null }),
  }),

  ...attacks(37, 'expired', {
    'exp as long ago as the skew': timed('exp', -30),
    'exp longer ago than the skew': timed('exp', -31),
    'exp long ago': timed('exp', -86_400),
    'exp 0': withClaims({ exp: 0 }),
  }),
  ...attacks(37, 'not_yet_valid', {
    'nbf further ahead than the skew': timed('nbf', 31),
    'iat further ahead than the skew': timed('iat', 31),
  }),
  ...attacks(
    37,
    'expired',
    { 'issued longer ago than maxAge': timed('iat', -3631) },
    { doors: IDP_DOORS },
  ),

  ...attacks(39, 'untrusted_issuer', {
    'in capitals': changed('iss', (iss) => iss.toUpperCase()),
    'a slash behind': changed('iss', (iss) => `${iss}/`),
    'a dot behind': changed('iss', (iss) => `${iss}.`),
    'a port': changed('iss', (iss) => `${iss}:443`),
    'user information': changed('iss', (iss) =>
      iss.includes('://') ? iss.replace('://', '://user@') : `user@${iss}`,
    ),
    'a query': changed('iss', (iss) => `${iss}?x`),
    'a fragment': changed('iss', (iss) => `${iss}#`),
    'a letter of another script': changed('iss', (iss) => iss.replace('e', 'е')),
    'a space in front': changed('iss', (iss) => ` ${iss}`),
    'a NUL behind': changed('iss', (iss) => `${iss}\0`),
    'a newline behind': changed('iss', (iss) => `${iss}\n`),
    'one character short': changed('iss', (iss) => iss.slice(0, -1)),
    'a stranger': withClaims({ iss: 'https://attacker.example' }),
    __proto__: withClaims({ iss: '__proto__' }),
  }),
  ...attacks(39, 'malformed_token', {
    'a list (CVE-2025-30144)': changed('iss', (iss) => [iss]),
    'a list with a stranger': changed('iss', (iss) => ['https://attacker.example', iss]),
    'an object': changed('iss', (iss) => ({ 0: iss })),
    'a number': withClaims({ iss: 7 }),
    null: withClaims({ iss: null }),
    empty: withClaims({ iss: '' }),
  }),
  ...attacks(39, 'missing_claim', { none: withClaims({ iss: undefined }) }),

  ...attacks(40, 'wrong_audience', {
    'another party': withClaims({ aud: 'https://rp.example' }),
    'ours and more': changed('aud', (aud) => `${aud}2`),
    'the beginning of ours': changed('aud', (aud) => aud.slice(0, 4)),
    'in capitals': changed('aud', (aud) => aud.toUpperCase()),
    'a space in front': changed('aud', (aud) => ` ${aud}`),
    'in a list, with a space': changed('aud', (aud) => [`${aud} `]),
    'two others': withClaims({ aud: ['a', 'b'] }),
    'a wildcard': withClaims({ aud: '*' }),
  }),
  ...attacks(40, 'malformed_token', {
    'an empty list': withClaims({ aud: [] }),
    empty: withClaims({ aud: '' }),
    'a number': withClaims({ aud: 7 }),
    null: withClaims({ aud: null }),
    'an object': changed('aud', (aud) => ({ [aud]: 1 })),
    'ours beside a number': changed('aud', (aud) => [aud, 7]),
    'a list in a list': changed('aud', (aud) => [[aud]]),
  }),
  ...attacks(40, 'missing_claim', { none: withClaims({ aud: undefined }) }),

  ...attacks(
    41,
    'malformed_token',
    each(['', 7, null, ['ada'], {}], (sub) => withClaims({ sub })),
  ),
  ...attacks(41, 'missing_claim', { 'no sub': withClaims({ sub: undefined }) }),
  ...attacks(
    41,
    'malformed_token',
    each(
      ['x'.repeat(4096), 'a\nb', 'a\0', '\u202eadmin', 'a\u200bb', '\ue000', 'a\u2028b'],
      (sub) => withClaims({ sub }),
    ),
    // Not at /introspect: the sub of a token that we recorded is what we wrote.
    { doors: [...IDP_DOORS, 'assertion'] },
  ),
  ...attacks(
    41,
    'invalid_upn',
    each(
      [
        '',
        'ada',
        '@acme.example',
        'ada@',
        'ada@@acme.example',
        'ada@acme.example@acme.example',
        'аda@acme.example',
        'ada@аcme.example',
        'ada@evil.example',
        'ada@acme.example.evil.example',
        'ada@sub.acme.example',
        'ada@acme..example',
        `${'a'.repeat(250)}@acme.example`,
        '\u202eada@acme.example',
        'e\u0301@acme.example',
        7,
        ['ada@acme.example'],
        {},
      ],
      (upn) => withClaims({ upn }),
    ),
    { doors: SUBJECT_DOORS },
  ),
  ...attacks(
    41,
    'missing_claim',
    {
      'no upn, though other claims hold one (CVE-2026-96447)': withClaims({
        upn: undefined,
        preferred_username: 'ada@acme.example',
        email: 'ada@acme.example',
      }),
      'upn null': withClaims({ upn: null }),
    },
    { doors: SUBJECT_DOORS },
  ),

  ...attacks(
    43,
    'invalid_upn',
    each(
      [
        'ada)(uid=*@acme.example',
        'ada\\00@acme.example',
        '"ada"@acme.example',
        "ada' OR '1'='1@acme.example",
        'ada\r\nX-Admin: 1@acme.example',
        'ada\0@acme.example',
        'ada @acme.example',
        'ada<x>@acme.example',
        'ada,dc=root@acme.example',
        'ada;DROP TABLE roles@acme.example',
        'ada@acme.example/../root',
        'ada@acme.example?admin=1',
        'ada@acme.example#',
      ],
      (upn) => withClaims({ upn }),
    ),
    { doors: SUBJECT_DOORS },
  ),

  ...attacks(
    44,
    'wrong_type',
    each(
      [
        'logout+jwt',
        'secevent+jwt',
        'dpop+jwt',
        'token-introspection+jwt',
        'statuslist+jwt',
        'txntoken+jwt',
        'oauth-authz-req+jwt',
        'application/logout+jwt',
        'LOGOUT+JWT',
        'JOSE',
        'text/jwt',
        'jwt ',
        '',
      ],
      (typ) => withHeader({ typ }),
    ),
  ),
  ...attacks(
    44,
    'wrong_type',
    { 'client-authentication+jwt': withHeader({ typ: 'client-authentication+jwt' }) },
    { doors: [...IDP_DOORS, 'introspect'] },
  ),
  ...attacks(
    44,
    'malformed_token',
    each([7, null, ['JWT'], {}], (typ) => withHeader({ typ })),
  ),
  ...attacks(
    44,
    'wrong_type',
    {
      'a logout token without typ': withClaims({
        events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
      }),
      ...each(['Refresh', 'Offline', 'Logout'], (typ) => withClaims({ typ })),
    },
    { doors: IDP_DOORS },
  ),

  ...attacks(
    45,
    'wrong_type',
    {
      ...each(['nonce', 'at_hash', 'c_hash', 's_hash'], (name) => withClaims({ [name]: 'x' })),
      'Keycloak ID token': withClaims({ typ: 'ID' }),
    },
    { doors: IDP_DOORS, type: 'access_token' },
  ),
  ...attacks(
    45,
    'wrong_type',
    {
      'at+jwt': withHeader({ typ: 'at+jwt' }),
      'Keycloak access token': withClaims({ typ: 'Bearer' }),
    },
    { doors: IDP_DOORS, type: 'id_token' },
  ),
  ...attacks(
    45,
    'wrong_type',
    { 'an access token of ours': (_, { own }) => own.token() },
    { doors: IDP_DOORS, type: 'id_token', issued: true },
  ),

  ...attacks(
    46,
    'untrusted_issuer',
    { 'a client assertion': (_, { assertion }) => assertion.token() },
    { doors: IDP_DOORS },
  ),
  ...attacks(46, 'malformed_token', {
    'a DPoP proof': (forge) =>
      forge.token(
        { iss: undefined, htm: 'POST', htu: 'https://sts.acme.example/token' },
        { typ: 'dpop+jwt', jwk: forge.keys.es.publicJwk },
      ),
  }),
  ...attacks(
    46,
    'wrong_type',
    {
      'a status list that we signed': (_, { own }) => own.token({}, { typ: 'statuslist+jwt' }),
      'a plain JWT that we signed': (_, { own }) => own.token({}, { typ: 'JWT' }),
      'a JWT without typ that we signed': (_, { own }) => own.token({}, { typ: undefined }),
    },
    { doors: [...IDP_DOORS, 'introspect'] },
  ),
  ...attacks(
    46,
    'client_auth_failed',
    {
      'an access token of ours as an assertion': (_, { own }) => own.token(),
      'a subject token as an assertion': (_, { subject }) => subject.token(),
      'a token of the IdP that names the client in iss and sub': (_, { subject }) =>
        subject.token({ iss: 'orders-jwt', sub: 'orders-jwt', aud: 'https://sts.acme.example' }),
    },
    { doors: ['assertion'] },
  ),
  ...attacks(
    46,
    'untrusted_issuer',
    { 'a token of the IdP at /introspect': (_, { subject }) => subject.token() },
    { doors: ['introspect'] },
  ),

  ...attacks(
    47,
    'wrong_presenter',
    {
      'azp of another client (CVE-2026-56668)': withClaims({ azp: 'other' }),
      'client_id of another client': withClaims({ azp: undefined, client_id: 'other' }),
      'azp ours, client_id of another': withClaims({ client_id: 'other' }),
      'client_id ours, azp of another': withClaims({ azp: 'other', client_id: 'orders-web' }),
      'neither, and we are not in aud': withClaims({ azp: undefined }),
      'a name that ours begins with': withClaims({ azp: 'orders' }),
      'ours in capitals': withClaims({ azp: 'ORDERS-WEB' }),
    },
    { doors: IDP_DOORS },
  ),
  ...attacks(
    47,
    'malformed_token',
    {
      'azp a list': withClaims({ azp: ['orders-web'] }),
      'client_id a number': withClaims({ client_id: 7 }),
      'azp empty': withClaims({ azp: '' }),
    },
    { doors: IDP_DOORS },
  ),

  ...attacks(
    52,
    'invalid_signature',
    {
      'ours, signed with the stolen key, never recorded': (_, { own }) => own.token(),
      'ours, signed with the stolen key, without an act it had': (_, { own }) =>
        own.token({ act: undefined, lineage: undefined, origin_jti: 'x' }),
    },
    { doors: IDP_DOORS },
  ),

  ...attacks(
    53,
    'actor_not_allowed',
    {
      'may_act names another, and there is no actor token': withClaims({
        may_act: { sub: 'somebody' },
      }),
      'may_act names another client': withClaims({ may_act: { client_id: 'other' } }),
      'five actors': withClaims({ act: chain(5) }),
    },
    { doors: SUBJECT_DOORS },
  ),
  ...attacks(
    53,
    'malformed_token',
    {
      ...each([{}, 'ada', 7, null, [], { sub: '' }, { sub: 7 }], (act) => withClaims({ act })),
      'nine actors': withClaims({ act: chain(9) }),
    },
    { doors: [...IDP_DOORS, 'introspect'] },
  ),
  ...attacks(
    53,
    'malformed_token',
    each(
      [{}, 'ada', null, { iss: 'https://login.acme.example' }, { sub: ['bot'] }],
      (mayAct) => (forge) => forge.token({ may_act: mayAct }),
    ),
    { doors: SUBJECT_DOORS },
  ),
  ...attacks(
    53,
    'actor_not_allowed',
    {
      'an actor that nobody named': withClaims({ sub: 'mallory' }),
      'the subject itself': withClaims({ sub: 'ada' }),
      'an actor whose token was delegated': withClaims({ act: { sub: 'other' } }),
    },
    { doors: ['actor'] },
  ),

  ...attacks(
    54,
    'proof_required',
    each(
      [
        { jkt: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' },
        { 'x5t#S256': 'bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2' },
        { jwk: { kty: 'EC' } },
        {},
        null,
        'none',
      ],
      (cnf) => withClaims({ cnf }),
    ),
    { doors: IDP_DOORS },
  ),

  ...attacks(
    55,
    'untrusted_issuer',
    {
      'a disabled IdP': (_, world) => world.idp('switched-off', world.subject.keys.es).token(),
    },
    { doors: IDP_DOORS },
  ),
  ...attacks(
    55,
    'client_auth_failed',
    {
      'a disabled client': (_, world) =>
        world.client('disabled-jwt', world.assertion.keys.es).token(),
    },
    { doors: ['assertion'] },
  ),
]
