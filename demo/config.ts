/** Places and values that the demo's configuration is made of. */
export interface DemoConfigOptions {
  /** Where clients connect; the issuer of tenant `demo` is `http://` and this. */
  readonly publicAddress?: string
  readonly adminAddress?: string
  /** Issuer of the demo IdP. */
  readonly idpIssuer: string
  /** Origin of the demo entitlement API. */
  readonly entitlementsUrl: string
  /** SHA-256 of the secret of `orders-web`, base64url. */
  readonly clientSecretSha256: string
  /** SHA-256 of the secret of `orders-api`, base64url; without it there is no such client. */
  readonly apiSecretSha256?: string
  /** SQLite file, relative to the configuration. */
  readonly databaseFile?: string
  /** File with the key-encryption key, relative to the configuration. */
  readonly kekFile?: string
  /** File with the bearer token of the entitlement API, relative to the configuration. */
  readonly entitlementsTokenFile?: string
}

/** The configuration that `rolemint up` writes and runs: for many people the first one they read, so it explains itself. */
export function demoConfig(options: DemoConfigOptions): string {
  const {
    publicAddress = '127.0.0.1:8080',
    adminAddress = '127.0.0.1:9090',
    databaseFile = './rolemint.db',
    kekFile = './kek',
    entitlementsTokenFile = './entitlements-token',
  } = options
  return `# Written by rolemint up: a whole deployment on this machine. Not for production.
version: 1
profile: dev                      # allows http:// to this machine, and listening on it only
listen:
  public: ${quote(publicAddress)}       # clients and verifiers
  admin: ${quote(adminAddress)}        # operators, /livez, /readyz, /metrics
store:
  sqlite: ${quote(databaseFile)}
keys:
  store:
    sealed:
      kek: ${quote(`\${file:${kekFile}}`)}         # seals the signing keys in the database
  publishAhead: 0s                # production: 24h, so that verifiers know a key before it signs
  successors: 2                   # keys kept ready, so that two rotations in a row work
limits:
  skew: 0s                        # one machine, one clock; production: 30s
tenants:
  demo:
    issuer: ${quote(`http://${publicAddress}`)}
    idps:
      demo:                       # whose tokens we accept
        issuer: ${quote(options.idpIssuer)}
        audience: rolemint
        user: upn                 # the claim that names the user at the source
        presenters: [orders-web]  # the IdP's name for who may bring them
    sources:
      demo-hr:                    # who knows the roles
        url: ${quote(`${options.entitlementsUrl}/users/{user}/roles`)}
        auth:
          bearer: ${quote(`\${file:${entitlementsTokenFile}}`)}
        roles: "items[*].role"
        nextPage: next
        echo: user
        consistency:
          snapshot: version       # every page names the state it was read from
        cache:
          fresh: 10s
    roles:
      map:
        - { from: SAP_ORD_R, to: orders.read }
        - { from: SAP_ORD_W, to: orders.write }
        - { from: SAP_ORD_ADM, to: orders.admin }
      unmapped: drop
      empty: deny
    clients:
      orders-web:                 # who may ask, and for what
        auth:
          clientSecret:
            sha256: [${quote(options.clientSecretSha256)}]
        idps: [demo]
        grants: [exchange, introspect]
        exchangeOwn: true         # may narrow tokens that we issued
        audiences: ["https://api.demo.example"]
        resourceFor: ["https://api.demo.example"]
        roles: [orders.read, orders.write, orders.admin]
${options.apiSecretSha256 === undefined ? '' : ordersApi(options.apiSecretSha256)}    tokens:
      ttl: 12h
`
}

function ordersApi(secretSha256: string): string {
  return `      orders-api:                 # the resource server: only asks whether a token is good
        auth:
          clientSecret:
            sha256: [${quote(secretSha256)}]
        grants: [introspect]
        resourceFor: ["https://api.demo.example"]
`
}

/** A YAML double-quoted scalar; JSON strings are a subset of those (YAML 1.2 §7.3.1). */
function quote(text: string): string {
  return JSON.stringify(text)
}
