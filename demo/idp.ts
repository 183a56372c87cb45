import { randomBytes } from 'node:crypto'
import { createServer, type RequestListener } from 'node:http'
import { type IdpAccess, logIn, mintToken } from './idp-client.ts'
import { createIdpProvider, generateIdpKeys, type IdpAlgorithm } from './idp-provider.ts'
import { createIdpStore } from './idp-store.ts'
import { closeServer, listen } from './listen.ts'
import { DEMO_USERS, type DemoUser } from './users.ts'

/** How to start the demo IdP; everything has a default. */
export interface DemoIdpOptions {
  /** 0, the default, takes a free port. */
  readonly port?: number
  readonly host?: '127.0.0.1'
  readonly users?: readonly DemoUser[]
  /** `aud` of its access tokens. */
  readonly audience?: string
  /** OAuth client that brings users' tokens: their `client_id`. */
  readonly clientId?: string
  /** Secret of that client; made anew when left out. */
  readonly clientSecret?: string
  /** Life of its tokens. */
  readonly tokenSeconds?: number
  /** Called when the IdP itself fails (a bug, not a refused request). */
  readonly onError?: (error: Error) => void
}

/** A running demo IdP. */
export interface DemoIdp extends IdpAccess {
  /** Logs a user in as a client would and gives the access token. @throws {Error} when the IdP refuses. */
  tokenFor(user: string, algorithm?: IdpAlgorithm): Promise<string>
  /** The ID token of the same login; its `aud` is the client. @throws {Error} when the IdP refuses. */
  idTokenFor(user: string): Promise<string>
  /** An access token in which `claims` replace the usual ones (`null` leaves one out), e.g. an expired one. */
  mint(
    user: string,
    claims: Readonly<Record<string, unknown>>,
    algorithm?: IdpAlgorithm,
  ): Promise<string>
  /** Signs with new keys from now on. The old ones stay published unless `forget` is set, as after a compromise. */
  rotateKeys(how?: { readonly forget?: boolean }): Promise<void>
  close(): Promise<void>
}

/**
 * Starts a real OpenID provider on loopback for the demo and for tests: discovery, JWKS, ES256 and RS256 keys made
 * at start, tokens by CIBA poll. Nothing outlives the process.
 *
 * @throws {Error} when the port is taken.
 */
export async function startDemoIdp(options: DemoIdpOptions = {}): Promise<DemoIdp> {
  const users = options.users ?? DEMO_USERS
  const server = createServer()
  const [port, firstKeys] = await Promise.all([
    listen(server, options.port ?? 0, options.host),
    generateIdpKeys(),
  ])
  const access: IdpAccess = {
    issuer: `http://127.0.0.1:${port}`,
    clientId: options.clientId ?? 'orders-web',
    clientSecret: options.clientSecret ?? randomBytes(32).toString('base64url'),
  }
  const settings = {
    ...access,
    audience: options.audience ?? 'rolemint',
    users: new Map(users.map((user) => [user.name, user])),
    tokenSeconds: options.tokenSeconds ?? 3600,
    adapter: createIdpStore(),
    onError: options.onError ?? ((error) => console.error('demo IdP:', error)),
  }

  let keys = firstKeys
  let answer: RequestListener
  // Keys of an oidc-provider are fixed for its life, so a rotation puts a new provider before the same state.
  const serveKeys = () => {
    const callback = createIdpProvider({ ...settings, keys }).callback()
    answer = (request, response) => void callback(request, response)
  }
  serveKeys()
  server.on('request', (request, response) => answer(request, response))

  return {
    ...access,
    tokenFor: async (user, algorithm) => (await logIn(access, user, algorithm)).accessToken,
    idTokenFor: async (user) => (await logIn(access, user)).idToken,
    mint: (user, claims, algorithm) => mintToken(access, user, claims, algorithm),
    async rotateKeys({ forget = false } = {}) {
      const fresh = await generateIdpKeys()
      keys = forget ? fresh : [...fresh, ...keys]
      serveKeys()
    },
    close: () => closeServer(server),
  }
}
