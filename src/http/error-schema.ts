import Type from 'typebox'

/** The one error object: members of RFC 6749 §5.2 and RFC 9457 §3.1 together. */
export const ERROR = Type.Object({
  error: Type.String({ description: 'OAuth error (RFC 6749 §5.2, RFC 8693 §2.2.2).' }),
  error_description: Type.String(),
  type: Type.String({ description: 'Where the error is explained.' }),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String(),
  error_code: Type.String({ description: 'Our own stable code; docs/errors.md lists all.' }),
  param: Type.Optional(Type.String({ description: 'The parameter to blame.' })),
  request_id: Type.String({ description: 'What the operator finds the request by.' }),
  retryable: Type.Boolean({ description: 'True when the same request may succeed later.' }),
})
