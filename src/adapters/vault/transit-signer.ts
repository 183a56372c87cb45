import type { RemoteSigner, SignerKey } from '../../keys/signer.ts'
import type { Random } from '../../lib/id.ts'
import { Refusal } from '../../lib/refusal.ts'
import { isJsonObject } from '../../lib/strict-json.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import type { Log } from '../../observe/log.ts'
import { type Breaker, BreakerOpen, createBreaker } from '../../resilience/breaker.ts'
import { DeadlineExceeded, withDeadline } from '../../resilience/deadline.ts'
import type { VaultClient } from './client.ts'
import { type Batches, createBatches } from './transit-batches.ts'
import {
  isHandle,
  KEY_VERSION,
  newHandle,
  readSignature,
  readTransitKey,
  TRANSIT_RECIPES,
  type TransitKey,
} from './transit-keys.ts'
import { VaultError } from './vault-error.ts'

interface TransitSignerDeps {
  readonly client: Pick<VaultClient, 'read' | 'write' | 'remove'>
  readonly random: Random
  readonly log?: Log | undefined
  /** Left out: one that opens after five batches in a row without an answer, for five seconds. */
  readonly breaker?: Pick<Breaker, 'run' | 'retryAfterSeconds'>
}

/** Where the keys are, and how long a signature may take. */
interface TransitSignerOptions {
  /** Of a Transit engine. */
  readonly mount: string
  /** What the names of our keys begin with. */
  readonly prefix: string
  /** From `sign` to its result or refusal. */
  readonly timeoutMilliseconds: number
}

/** A key that may be signed with. */
interface Bound {
  readonly alg: SignerKey['alg']
  readonly signatures: Batches<string, Buffer>
}

const FAILURES = 5
const OPEN_MILLISECONDS = 5000
const CLEAN_UP_MILLISECONDS = 2000

/**
 * Signs by the Transit engine of Vault or OpenBao, where private halves are made and stay. Vault is then on the way of every token: while it
 * is down none is issued, and each request is told so within the time limit, or at once when the breaker is open.
 */
export function createTransitSigner(
  { client, random, log, breaker = breakerFor(log) }: TransitSignerDeps,
  { mount, prefix, timeoutMilliseconds }: TransitSignerOptions,
): RemoteSigner {
  // By tenant first: a key can only be asked for in the name of the tenant it was bound for.
  const tenants = new Map<string, Map<string, Bound>>()

  const at = (handle: string): string => {
    if (!isHandle(prefix, handle)) throw new Error('The handle is no name of a key of ours.')
    return `${mount}/keys/${handle}`
  }

  async function read(handle: string, signal: AbortSignal): Promise<TransitKey | undefined> {
    const data = await client.read(at(handle), signal)
    return data && readTransitKey(data)
  }

  async function destroy(handle: string, signal: AbortSignal): Promise<void> {
    try {
      // Only now, so that nobody who got hold of the right to delete can take a key that is in use.
      await client.write(`${at(handle)}/config`, { deletion_allowed: true }, signal)
      await client.remove(at(handle), signal)
    } catch (error) {
      // Transit refuses to change or delete what is not there, with the status of any other mistake.
      if (!(error instanceof VaultError) || (await client.read(at(handle), signal))) throw error
    }
  }

  /** Best effort: what stays is a key that nobody knows and that signs nothing. */
  async function cleanUp(handle: string): Promise<void> {
    try {
      await destroy(handle, AbortSignal.timeout(CLEAN_UP_MILLISECONDS))
    } catch (error) {
      log?.warn({ err: error, handle }, 'A key that was not used may have been left in Transit')
    }
  }

  return {
    async sign(key, signingInput) {
      const bound = tenants.get(key.tenant)?.get(key.kid)
      if (bound?.alg !== key.alg) throw unavailable(`no ${key.alg} key ${key.kid} is bound`)
      try {
        return await bound.signatures.ask(signingInput)
      } catch (error) {
        throw unavailable(error, Math.max(1, breaker.retryAfterSeconds()))
      }
    },

    async create(tenant, alg, signal) {
      const handle = newHandle(prefix, tenant, random)
      const { type } = TRANSIT_RECIPES[alg]
      let mayBeThere = true
      try {
        const wanted = { type, exportable: false, allow_plaintext_backup: false, derived: false }
        await client.write(at(handle), wanted, signal).catch((error: unknown) => {
          mayBeThere = !(error instanceof VaultError)
          throw error
        })
        const made = await read(handle, signal)
        if (made?.type !== type || !made.staysThere)
          throw new Error('Transit made another key than it was asked for.')
        return { publicKey: made.publicKey, handle }
      } catch (error) {
        // Not waited for: the caller's time may be over.
        if (mayBeThere) void cleanUp(handle)
        throw error
      }
    },

    async holds(handle, publicKey, signal) {
      return (await read(handle, signal))?.publicKey.equals(publicKey) ?? false
    },

    bind({ tenant, kid, alg }, handle) {
      at(handle)
      const send = (inputs: readonly string[]) =>
        breaker.run(() =>
          withDeadline(timeoutMilliseconds, (signal) =>
            signBatch(client, `${mount}/sign/${handle}`, alg, inputs, signal),
          ),
        )
      const keys = tenants.get(tenant) ?? new Map<string, Bound>()
      tenants.set(
        tenant,
        keys.set(kid, { alg, signatures: createBatches(send, TRANSIT_RECIPES[alg].limits) }),
      )
    },

    unbind({ tenant, kid }) {
      const keys = tenants.get(tenant)
      keys?.delete(kid)
      if (keys?.size === 0) tenants.delete(tenant)
    },

    // These run under signals of their callers, and not through the breaker: a caller that gives up says nothing about Vault.
    destroy,
    async check(signal) {
      // A name that no key of ours can have; asking takes a login and the right to read keys.
      await client.read(`${mount}/keys/${prefix}-check`, signal)
    },
  }
}

/**
 * One request for all inputs. An input that Transit refuses alone becomes an error at its place.
 * @throws {DependencyUnavailable} {@link VaultError} or, when the answer is none to this request, {@link TypeError}.
 */
async function signBatch(
  client: Pick<VaultClient, 'write'>,
  path: string,
  alg: SignerKey['alg'],
  inputs: readonly string[],
  signal: AbortSignal,
): Promise<readonly (Buffer | Error)[]> {
  const { sign, signatureBytes } = TRANSIT_RECIPES[alg]
  const body = {
    ...sign,
    marshaling_algorithm: 'jws',
    key_version: KEY_VERSION,
    batch_input: inputs.map((input) => ({
      input: Buffer.from(input, 'latin1').toString('base64'),
    })),
  }
  const { batch_results: results } = await client.write(path, body, signal)
  if (!Array.isArray(results)) throw new TypeError('Transit answered without signatures.')
  return results.map((result: unknown) => {
    // Not its words: they could quote what was sent.
    if (!isJsonObject(result) || (result['error'] !== undefined && result['error'] !== ''))
      return new Error('Transit refused to sign this input.')
    try {
      return readSignature(result, signatureBytes)
    } catch (error) {
      return error instanceof Error ? error : new TypeError('no signature')
    }
  })
}

/**
 * Only silence opens it. An answer of 400 or 403 is about one key or one right and comes fast: opening would help nobody, and a
 * tenant whose key was deleted by mistake would stop all others.
 */
function breakerFor(log: Log | undefined): Breaker {
  return createBreaker(
    {},
    {
      failures: FAILURES,
      openMilliseconds: OPEN_MILLISECONDS,
      isFailure: (error) =>
        error instanceof DependencyUnavailable || error instanceof DeadlineExceeded,
      changed: (state) => log?.warn({ state }, 'The breaker before the Transit signer has changed'),
    },
  )
}

function unavailable(cause: unknown, retryAfterSeconds = 1): Refusal {
  const message =
    cause instanceof BreakerOpen
      ? 'The token could not be signed, because the signing service does not answer. Try again later.'
      : 'The token could not be signed. Try again shortly; if it lasts, look at the state of the signing keys.'
  return new Refusal('signer_unavailable', message, { cause, retryAfterSeconds })
}
