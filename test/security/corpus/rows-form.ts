/** Rows 1-15: form, sizes, spellings, JSON and the name of the algorithm. */
import { base64url } from '../../fakes/jwt.ts'
import { type Attack, attacks, each, withClaims, withHeader } from './attack.ts'
import { type Forge, parts } from './forge.ts'

const literal =
  (text: string): Attack['spoil'] =>
  () =>
    text
const jwe = (header: object, key: string): Attack['spoil'] =>
  literal(
    `${base64url(JSON.stringify(header))}.${key}.aXYtaXYtaXYtaXY.Y2lwaGVydGV4dA.dGFnLXRhZy10YWc`,
  )

/** A good header member list with the given text in front. */
const rawHeader = (forge: Forge, front: string | Buffer): string =>
  forge.token({}, {}, { rawHeader: front })
const headerText = (forge: Forge): string => JSON.stringify(forge.header())
const rawPayload =
  (text: string): Attack['spoil'] =>
  (forge) =>
    forge.token({}, {}, { rawPayload: text })
/** The good claims with one more member in front. */
const memberInFront =
  (member: (forge: Forge) => string): Attack['spoil'] =>
  (forge) =>
    forge.token(
      {},
      {},
      { rawPayload: `{${member(forge)},${JSON.stringify(forge.claims()).slice(1)}` },
    )
const spliced =
  (change: (header: string, payload: string, signature: string) => string): Attack['spoil'] =>
  (forge) =>
    change(...parts(forge.token({ pad: '???>>>~~~???' })))

export const FORM_ROWS: readonly Attack[] = [
  // An empty parameter counts as left out (RFC 6749 §3.2); an Authorization header without a token holds no credential at all.
  ...attacks(
    1,
    'malformed_request',
    { empty: literal('') },
    {
      unrecorded: true,
      at: {
        bearer: 'client_auth_failed',
        assertion: 'malformed_request',
        introspect: 'malformed_request',
      },
    },
  ),
  ...attacks(1, 'malformed_token', {
    ...each(['.', '..', '...', 'a.b', 'a', 'a.b.c.d'], literal),
    'a trailing dot': (forge) => `${forge.token()}.`,
    'a leading dot': (forge) => `.${forge.token()}`,
    'no signature part': spliced((header, payload) => `${header}.${payload}`),
    'a fourth part': (forge) => `${forge.token()}.AAAA`,
  }),

  ...attacks(2, 'malformed_token', {
    'dir, A256GCM': jwe({ alg: 'dir', enc: 'A256GCM' }, ''),
    RSA1_5: jwe({ alg: 'RSA1_5', enc: 'A128CBC-HS256' }, 'a'.repeat(342)),
    'ECDH-ES with a point off the curve': jwe(
      { alg: 'ECDH-ES', enc: 'A128GCM', epk: { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' } },
      '',
    ),
    'PBES2 with two billion rounds': jwe(
      { alg: 'PBES2-HS256+A128KW', enc: 'A128GCM', p2c: 2 ** 31, p2s: 'AA' },
      'AA',
    ),
    'a zip bomb': jwe({ alg: 'dir', enc: 'A128GCM', zip: 'DEF' }, ''),
    'a good token with two more parts': (forge) => `${forge.token()}.AA.AA`,
  }),

  ...attacks(3, 'malformed_token', {
    flattened: spliced((header, payload, signature) =>
      JSON.stringify({ protected: header, payload, signature }),
    ),
    general: spliced((header, payload, signature) =>
      JSON.stringify({ payload, signatures: [{ protected: header, signature }] }),
    ),
    'flattened, with an unprotected header': spliced((_, payload, signature) =>
      JSON.stringify({ header: { alg: 'none' }, payload, signature }),
    ),
    detached: spliced((header, _, signature) => `${header}..${signature}`),
  }),

  ...attacks(4, 'malformed_token', {
    'JSON that splits into three at its dots': spliced(
      (header, payload, signature) =>
        `{"x":"${header}.${payload}.${signature}","protected":"${header}"}`,
    ),
    'a compact token with JSON in front (CVE-2022-39227)': spliced(
      (header, payload, signature) =>
        `{" ${header}.eyJzdWIiOiJyb290In0.":"","protected":"${header}","payload":"${payload}","signature":"${signature}"}`,
    ),
  }),

  ...attacks(5, 'token_too_large', { 'sixty thousand dots': literal('.'.repeat(60_000)) }),
  // Fewer than the longest token: what is counted here is parts.
  ...attacks(5, 'malformed_token', { 'eight thousand dots': literal('.'.repeat(8000)) }),

  ...attacks(6, 'token_too_large', {
    'a good token over 16 KiB': withClaims({ pad: 'x'.repeat(16_384) }),
    'one character over 16 KiB': literal('a'.repeat(16_385)),
  }),
  ...attacks(6, 'malformed_token', {
    'a header over 2 KiB': withHeader({ pad: 'x'.repeat(2048) }),
  }),
  ...attacks(
    6,
    'body_too_large',
    { 'a body over 64 KiB': literal('a'.repeat(65_600)) },
    {
      doors: ['form', 'json', 'actor', 'assertion', 'introspect'],
      at: { assertion: 'body_too_large', introspect: 'body_too_large' },
      unrecorded: true,
    },
  ),

  ...attacks(7, 'malformed_token', {
    'a leading space': (forge) => ` ${forge.token()}`,
    'a trailing space': (forge) => `${forge.token()} `,
    'a trailing newline': (forge) => `${forge.token()}\n`,
    'a newline in the payload': spliced((header, payload, s) => `${header}.\n${payload}.${s}`),
    'a tab in the signature': spliced((header, payload, s) => `${header}.${payload}.\t${s}`),
    'padding behind the signature': (forge) => `${forge.token()}==`,
    'padding behind the header': spliced((header, payload, s) => `${header}=.${payload}.${s}`),
    'the +/ alphabet': spliced(
      (header, payload, s) => `${header}.${payload.replaceAll('-', '+').replaceAll('_', '/')}.${s}`,
    ),
    'a NUL behind': (forge) => `${forge.token()}\0`,
    quotes: (forge) => `"${forge.token()}"`,
    braces: (forge) => `{${forge.token()}}`,
    'a letter beyond ASCII': (forge) => `${forge.token()}é`,
  }),

  ...attacks(8, 'malformed_token', {
    // 64 bytes leave four bits of the last character unused: its successor decodes to the same bytes.
    'trailing bits in the signature': (forge) => {
      const token = forge.token()
      return token.slice(0, -1) + String.fromCharCode(token.charCodeAt(token.length - 1) + 1)
    },
    'trailing bits in the header': (forge) => {
      const [header, payload, signature] = parts(forge.token({}, { pad: 'x'.repeat(10) }))
      const length = Buffer.from(header, 'base64url').length
      const text = length % 3 === 0 ? `${header}A` : nextCharacter(header)
      return `${text}.${payload}.${signature}`
    },
  }),

  ...attacks(9, 'malformed_token', {
    'a byte order mark': (forge) => rawHeader(forge, `\ufeff${headerText(forge)}`),
    'UTF-16': (forge) => rawHeader(forge, Buffer.from(headerText(forge), 'utf16le')),
    'Latin-1': (forge) =>
      rawHeader(forge, Buffer.from(JSON.stringify(forge.header({ x: 'é' })), 'latin1')),
    'an overlong encoding': (forge) =>
      rawHeader(
        forge,
        Buffer.concat([
          Buffer.from(headerText(forge).slice(0, -1)),
          Buffer.from(',"a":"\xc0\xaf"}', 'latin1'),
        ]),
      ),
    'a payload that is no UTF-8': (forge) =>
      forge.token(
        {},
        {},
        { rawPayload: Buffer.from(JSON.stringify(forge.claims({ pad: 'é' })), 'latin1') },
      ),
  }),

  ...attacks(10, 'malformed_token', {
    'alg twice': (forge) => rawHeader(forge, `{"alg":"none",${headerText(forge).slice(1)}`),
    'kid twice': (forge) => rawHeader(forge, `{"kid":"x",${headerText(forge).slice(1)}`),
    'alg twice, once with an escape': (forge) =>
      rawHeader(forge, `{"\\u0061lg":"none",${headerText(forge).slice(1)}`),
    'aud twice': memberInFront((forge) => `"aud":${JSON.stringify(forge.claims()['aud'])}`),
    'aud twice, once with an escape': memberInFront(
      (forge) => `"\\u0061ud":${JSON.stringify(forge.claims()['aud'])}`,
    ),
    'sub twice': memberInFront(() => '"sub":"root"'),
    'a name twice deep inside': memberInFront(() => '"x":[{"y":{"a":1,"a":2}}]'),
  }),

  ...attacks(
    11,
    'malformed_token',
    each(['[]', '["iss"]', '"iss"', '1', 'null', 'true', ''], rawPayload),
  ),
  ...attacks(11, 'malformed_token', {
    'a header that is an array': (forge) => rawHeader(forge, `[${headerText(forge)}]`),
    'two objects': (forge) =>
      forge.token({}, {}, { rawPayload: `${JSON.stringify(forge.claims())}{}` }),
  }),

  ...attacks(12, 'malformed_token', {
    'an array nested four thousand deep': rawPayload(
      `{"x":${'['.repeat(4000)}${']'.repeat(4000)}}`,
    ),
    'an object nested a thousand deep': rawPayload(`${'{"x":'.repeat(1000)}1${'}'.repeat(1000)}`),
    'a header nested a hundred deep': (forge) =>
      rawHeader(forge, `{"x":${'['.repeat(100)}${']'.repeat(100)},${headerText(forge).slice(1)}`),
    'five thousand members': rawPayload(`{"x":[${'0,'.repeat(5000)}0]}`),
    'a hundred members in the header': (forge) =>
      rawHeader(
        forge,
        `{${Array.from({ length: 100 }, (_, n) => `"m${n}":0`).join()},${headerText(forge).slice(1)}`,
      ),
  }),

  ...attacks(
    14,
    'algorithm_not_allowed',
    Object.fromEntries(
      ['none', 'None', 'NONE', 'nOnE', 'none ', 'null', ''].flatMap((alg) => [
        [`"${alg}" with a signature`, withHeader({ alg })],
        [
          `"${alg}" without one`,
          (forge: Forge) => {
            const [header, payload] = parts(forge.token({}, { alg }))
            return `${header}.${payload}.`
          },
        ],
      ]),
    ),
  ),

  ...attacks(
    15,
    'malformed_token',
    each([undefined, 7, ['ES256'], null, {}, true], (alg) => withHeader({ alg })),
  ),
  ...attacks(
    15,
    'algorithm_not_allowed',
    each(['es256', 'Es256', 'ES256 ', 'ES256\u0000', 'ES256K', 'toString', '__proto__'], (alg) =>
      withHeader({ alg }),
    ),
  ),
]

function nextCharacter(text: string): string {
  return text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) + 1)
}
