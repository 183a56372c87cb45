/** What goes over the wire on the public listener, for `/openapi.json`; the parsers are the rooms' own and stricter. */
import Type from 'typebox'
import { ISSUED_TOKEN_TYPES, TOKEN_EXCHANGE_GRANT, TOKEN_TYPES } from '../../exchange/request.ts'

const text = (description: string) => Type.String({ description })
const maybe = (description: string) => Type.Optional(text(description))
const texts = (description: string) =>
  Type.Optional(Type.Union([Type.String(), Type.Array(Type.String())], { description }))

const tokenType = (description: string) => Type.Enum([...TOKEN_TYPES.keys()], { description })

const credentials = {
  client_id: maybe('Client, when it is not named by the Authorization header.'),
  client_secret: maybe('Secret of the client (RFC 6749 §2.3.1).'),
  client_assertion_type: maybe('urn:ietf:params:oauth:client-assertion-type:jwt-bearer'),
  client_assertion: maybe('Signed assertion of the client (RFC 7523 §2.2, RFC 10070).'),
}

const wanted = {
  actor_token: maybe('Who acts for the subject (RFC 8693 §2.1).'),
  actor_token_type: Type.Optional(tokenType('What the actor token is.')),
  audience: texts('Targets by name; the default target of the client when left out.'),
  resource: texts('Targets by absolute URI (RFC 8707).'),
  scope: maybe('Scopes separated by single spaces.'),
  requested_token_type: Type.Optional(
    Type.Enum([...ISSUED_TOKEN_TYPES], { description: 'What is asked for.' }),
  ),
}

/** Form of POST /token (RFC 8693 §2.1). */
export const TOKEN_FORM = Type.Object(
  {
    grant_type: Type.Literal(TOKEN_EXCHANGE_GRANT),
    subject_token: text("The user's token."),
    subject_token_type: tokenType('What the subject token is.'),
    ...wanted,
    expires_in: maybe('Shorter life, in seconds.'),
    ...credentials,
  },
  { description: 'An empty value counts as left out; only audience and resource may repeat.' },
)

/** Body of POST /v1/token/exchange. */
export const EXCHANGE_BODY = Type.Object(
  {
    subject_token: maybe("The user's token, here or as Authorization: Bearer."),
    subject_token_type: Type.Optional(tokenType('What it is; a JWT when left out.')),
    ...wanted,
    expires_in: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1 }), Type.String()], {
        description: 'Shorter life, in seconds.',
      }),
    ),
    ...credentials,
  },
  { description: 'Unknown members are ignored, except authorization_details, which is refused.' },
)

/** Answer of both exchanges (RFC 8693 §2.2.1). */
export const TOKEN_ANSWER = Type.Object({
  access_token: text('The issued JWT (RFC 9068).'),
  issued_token_type: Type.Enum([...ISSUED_TOKEN_TYPES]),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer({ description: 'Life in seconds.' }),
  scope: maybe('Granted scopes; left out when there are none.'),
})

/** Form of POST /introspect (RFC 7662 §2.1). */
export const INTROSPECTION_FORM = Type.Object({
  token: text('The token to judge.'),
  token_type_hint: maybe('Taken note of, never relied on.'),
  ...credentials,
})

/** Answer of POST /introspect (RFC 7662 §2.2). */
export const INTROSPECTION_ANSWER = Type.Object(
  {
    active: Type.Boolean({ description: 'Nothing else is said of a token that is not active.' }),
    client_id: maybe('Client it was issued to.'),
    username: maybe('User principal name.'),
    scope: maybe('Scopes.'),
    token_type: maybe('Bearer'),
    exp: Type.Optional(Type.Integer()),
    iat: Type.Optional(Type.Integer()),
    nbf: Type.Optional(Type.Integer()),
    sub: maybe('Subject.'),
    aud: texts('Targets.'),
    iss: maybe('Issuer.'),
    jti: maybe('Id of the token.'),
    roles: Type.Optional(Type.Array(Type.String())),
  },
  { additionalProperties: true },
)

/** JWK Set (RFC 7517 §5). */
export const JWKS = Type.Object({
  keys: Type.Array(Type.Record(Type.String(), Type.Unknown()), {
    description: 'Public keys; the one that signs now comes first.',
  }),
})

/** Metadata (RFC 8414 §2, OpenID Connect Discovery 1.0 §3). */
export const METADATA = Type.Object(
  {
    issuer: Type.String(),
    token_endpoint: Type.String(),
    jwks_uri: Type.String(),
    introspection_endpoint: Type.String(),
  },
  { additionalProperties: true },
)

/** An entry of the error catalogue. */
export const ERROR_ENTRY = Type.Object({
  error_code: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  error: Type.String(),
  meaning: Type.String(),
  cause: Type.String(),
  mend: Type.String(),
})
