/** Words the bench's client, servers and generator must agree on. */
export const EXCHANGE_GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt'
/** The peer's own grant for a token that it can introspect. */
export const OPAQUE_GRANT = 'urn:rolemint:bench:opaque'

/** What the bench's entitlement API says of everybody, and what becomes of it. */
export const BENCH_SOURCE_ROLES = ['SAP_ORD_R', 'SAP_ORD_W', 'SAP_HR_SELF', 'SAP_TRAVEL'] as const
export const BENCH_ROLES = ['orders.read', 'orders.write'] as const
