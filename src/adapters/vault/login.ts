import { Secret } from '../../lib/secret.ts'
import { isJsonObject } from '../../lib/strict-json.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import type { VaultAnswer, VaultRequest, VaultTransport } from './transport.ts'
import { VaultError } from './vault-error.ts'

/**
 * How to log in. The functions are asked at every login, so that a secret-id, a service account's token or an agent's token that
 * was replaced on disk is picked up without a restart.
 */
export type VaultAuth =
  | { readonly kind: 'token'; readonly token: () => Promise<Secret> }
  | {
      readonly kind: 'appRole'
      readonly mount: string
      readonly roleId: string
      readonly secretId: () => Promise<Secret>
    }
  | {
      readonly kind: 'jwt'
      /** `jwt` or `kubernetes`: the two take the same login. */
      readonly mount: string
      readonly role: string
      readonly jwt: () => Promise<Secret>
    }

/** A token and what is known of its life. */
export interface VaultLease {
  readonly token: Secret
  /** Infinity: it never ends. */
  readonly ttlMilliseconds: number
  readonly renewable: boolean
}

/** Makes, prolongs and ends tokens. All throw {@link DependencyUnavailable} without an answer and {@link VaultError} when refused. */
export interface VaultLogins {
  login(signal: AbortSignal): Promise<VaultLease>
  renew(lease: VaultLease, signal: AbortSignal): Promise<VaultLease>
  /** Does nothing to a token that somebody else made. */
  revoke(lease: VaultLease, signal: AbortSignal): Promise<void>
}

/** The logins of one way to log in. */
export function createVaultLogins(transport: VaultTransport, auth: VaultAuth): VaultLogins {
  async function loginWith(mount: string, body: object, signal: AbortSignal): Promise<VaultLease> {
    const path = `auth/${mount}/login`
    return leaseOf(await ask(transport, { method: 'POST', path, body }, signal))
  }

  return {
    async login(signal) {
      if (auth.kind === 'token') return lookUp(transport, await auth.token(), signal)
      if (auth.kind === 'appRole') {
        const secretId = await auth.secretId()
        const body = { role_id: auth.roleId, secret_id: secretId.reveal() }
        return loginWith(auth.mount, body, signal)
      }
      const jwt = await auth.jwt()
      return loginWith(auth.mount, { role: auth.role, jwt: jwt.reveal() }, signal)
    },

    async renew({ token }, signal) {
      const path = 'auth/token/renew-self'
      const answer = await ask(transport, { method: 'POST', path, body: {}, token }, signal)
      return { ...leaseOf(answer), token } // the same object: who compares tokens sees that it is the same
    },

    async revoke({ token }, signal) {
      if (auth.kind === 'token') return
      const path = 'auth/token/revoke-self'
      await ask(transport, { method: 'POST', path, body: {}, token }, signal)
    },
  }
}

/** What a token that was given to us says about itself. */
async function lookUp(
  transport: VaultTransport,
  token: Secret,
  signal: AbortSignal,
): Promise<VaultLease> {
  const request = { method: 'GET', path: 'auth/token/lookup-self', token } as const
  const { body } = await ask(transport, request, signal)
  const data = body?.['data']
  if (!isJsonObject(data)) throw unreadable()
  // A token in its last second also has a ttl of 0.
  const endless = data['expire_time'] === null
  const ttlMilliseconds = endless ? Number.POSITIVE_INFINITY : ttlOf(data['ttl'])
  return { token, ttlMilliseconds, renewable: data['renewable'] === true }
}

function leaseOf({ body }: VaultAnswer): VaultLease {
  const auth = body?.['auth']
  if (!isJsonObject(auth)) throw unreadable()
  const token = auth['client_token']
  if (typeof token !== 'string' || token === '') throw unreadable()
  const ttlMilliseconds = ttlOf(auth['lease_duration'])
  return {
    token: new Secret(token),
    ttlMilliseconds: ttlMilliseconds === 0 ? Number.POSITIVE_INFINITY : ttlMilliseconds,
    renewable: auth['renewable'] === true,
  }
}

function ttlOf(seconds: unknown): number {
  if (typeof seconds !== 'number' || !(seconds >= 0)) throw unreadable()
  return seconds * 1000
}

async function ask(
  transport: VaultTransport,
  request: VaultRequest,
  signal: AbortSignal,
): Promise<VaultAnswer> {
  const answer = await transport.send(request, signal)
  const failure = failureOf(request, answer)
  if (failure) throw failure
  return answer
}

/** What a status other than 2xx means, as an error to throw. */
export function failureOf(
  { method, path }: VaultRequest,
  { status, body }: VaultAnswer,
): DependencyUnavailable | VaultError | undefined {
  if (status >= 200 && status < 300) return undefined
  const given = body?.['errors']
  const errors = Array.isArray(given) ? given.map(String) : undefined
  if (status >= 300 && status < 400)
    return new DependencyUnavailable('Vault sent us elsewhere, and no redirect is followed.')
  // Sealed, standby without an active node, overloaded, or a proxy in front of nothing. 412: this replica is behind, another is not.
  if (status >= 500 || status === 429 || status === 412)
    return new DependencyUnavailable(`Vault could not serve the call (status ${status}).`)
  // Vault names errors in JSON. A bare 404 comes from something before it, and must not pass for "there is no such key".
  if (errors === undefined && (status === 404 || status === 408))
    return new DependencyUnavailable(`Something before Vault answered (status ${status}).`)
  return new VaultError(method, path, status, errors ?? [])
}

function unreadable(): DependencyUnavailable {
  return new DependencyUnavailable('Vault gave an answer to a login that is not of the usual form.')
}
