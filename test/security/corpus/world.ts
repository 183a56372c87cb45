/** The deployment that the corpus attacks, and everything around it that must not be asked. */
import { createHash, createPrivateKey, createPublicKey, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { jwksOf, newTestKey, type TestKey } from '../../fakes/jwt.ts'
import {
  API,
  at,
  CLIENT,
  type ConfigTree,
  IDP_ISSUER,
  ISSUER,
  type Sts,
  startSts,
} from '../../fakes/sts.ts'
import { createForge, type Forge, newForgeKeys } from './forge.ts'
import {
  type BadSet,
  badSets,
  type CountingServer,
  HOSTILE_PLACES,
  startCountingServer,
  startKeyServer,
} from './hostile.ts'

export const ASSERTER = 'orders-jwt'
/** An IdP whose keys are fetched: the one whose requests are worth counting. */
export const REMOTE_ISSUER = 'https://remote.acme.example'

/** A deployment with a clock that a test turns, and forges for the tokens each door expects. */
export interface CorpusWorld {
  readonly sts: Sts
  readonly clock: { time: number; now(): number }
  readonly keyServer: CountingServer
  readonly attacker: CountingServer
  /** The key of the IdP `remote`; its `kid` is also that of another IdP's key. */
  readonly remoteKey: TestKey
  /** Signed by a key that its issuer publishes but may not use. */
  readonly foreignAlgorithm: TestKey
  readonly badSets: readonly BadSet[]
  readonly subject: Forge
  readonly actor: Forge
  readonly assertion: Forge
  /** Tokens of ours, made with the real active key: what a thief of that key would make. */
  readonly own: Forge
  /** A forge for the tokens of a configured IdP other than the usual one. */
  idp(name: string, key: TestKey): Forge
  /** A forge for the assertions of a client whose keys are at the same place. */
  client(id: string, key: TestKey): Forge
  /** Puts the digest of a token into the ledger, as if we had issued it. */
  record(token: string): Promise<void>
  /** What all servers around us were asked so far. */
  outbound(): number
  close(): Promise<void>
}

/** Starts everything; close it in `after`. */
export async function startCorpusWorld(): Promise<CorpusWorld> {
  const clock = { time: Math.floor(Date.now() / 1000) * 1000, now: () => clock.time }
  const idpKeys = newForgeKeys('idp')
  const clientKeys = newForgeKeys('client')
  const foreignAlgorithm = newTestKey('ES384', 'idp-es384')
  const remoteKey = newTestKey('ES256', idpKeys.es.kid)
  const sets = badSets()
  const attacker = await startCountingServer((_, response) => {
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify(jwksOf(idpKeys.es)))
  })
  const keyServer = await startKeyServer([remoteKey], sets, () => attacker.origin)
  const sts = await startSts({
    parts: { clock },
    configure: (tree) =>
      configure(tree, {
        login: jwksOf(idpKeys.es, idpKeys.rs, idpKeys.ps, idpKeys.ed, foreignAlgorithm),
        asserter: jwksOf(clientKeys.es, clientKeys.rs, clientKeys.ps, clientKeys.ed),
        places: [
          ...sets.map(({ name }) => ({ name, uri: `${keyServer.origin}/sets/${name}` })),
          ...HOSTILE_PLACES.map((name) => ({ name, uri: `${keyServer.origin}/hostile/${name}` })),
        ],
        remote: `${keyServer.origin}/good`,
      }),
  })

  const seconds = () => Math.floor(clock.time / 1000)
  const person = (sub: string) => () => ({
    sub,
    aud: 'rolemint',
    iat: seconds(),
    exp: seconds() + 300,
    azp: CLIENT,
    upn: `${sub}@acme.example`,
  })
  const asserted = (id: string) => () => ({
    sub: id,
    aud: ISSUER,
    iat: seconds(),
    exp: seconds() + 60,
  })
  const recorded = new Set<string>()
  return {
    sts,
    clock,
    keyServer,
    attacker,
    remoteKey,
    foreignAlgorithm,
    badSets: sets,
    subject: createForge({ issuer: IDP_ISSUER, keys: idpKeys, claims: person('ada') }),
    actor: createForge({ issuer: IDP_ISSUER, keys: idpKeys, claims: person('bot') }),
    assertion: createForge({ issuer: ASSERTER, keys: clientKeys, claims: asserted(ASSERTER) }),
    own: createForge({
      issuer: ISSUER,
      keys: { ...newForgeKeys('stray'), es: await activeKeyOf(sts) },
      header: { typ: 'at+jwt' },
      claims: () => ({
        ...person('ada')(),
        aud: API,
        azp: undefined,
        client_id: CLIENT,
        roles: ['orders.read'],
        tenant: 'acme',
        idp: 'login',
        session_exp: seconds() + 300,
      }),
    }),
    idp: (name, key) =>
      createForge({
        issuer: issuerNamed(name),
        keys: { ...idpKeys, es: key },
        claims: () => ({ ...person('ada')(), upn: `ada@${name}.example` }),
      }),
    client: (id, key) =>
      createForge({ issuer: id, keys: { ...clientKeys, es: key }, claims: asserted(id) }),
    async record(token) {
      const digest = createHash('sha256')
        .update(token.slice(0, token.lastIndexOf('.')))
        .digest()
      if (recorded.has(digest.toString('hex'))) return
      recorded.add(digest.toString('hex'))
      const entry = { id: randomUUID(), event: 'issued', tenant: 'acme', at: clock.time } as const
      await sts.deployment.stores.ledger.append(
        { ...entry, digest, details: {} },
        [],
        AbortSignal.timeout(5000),
      )
    },
    outbound: () => sts.api.requests.length + keyServer.requests.length + attacker.requests.length,
    async close() {
      await sts.close()
      await Promise.all([keyServer.close(), attacker.close()])
    },
  }
}

/** `iss` of the IdP of this name. */
export function issuerNamed(name: string): string {
  return name === 'remote' ? REMOTE_ISSUER : `https://${name}.example`
}

function configure(
  tree: ConfigTree,
  facts: {
    readonly login: unknown
    readonly asserter: unknown
    readonly places: readonly { readonly name: string; readonly uri: string }[]
    readonly remote: string
  },
): void {
  const idps = at(tree, 'tenants.acme.idps')
  const clients = at(tree, 'tenants.acme.clients')
  const web = at(clients, CLIENT)
  const algorithms = ['ES256', 'RS256', 'PS256', 'EdDSA']
  Object.assign(at(idps, 'login'), {
    jwks: facts.login,
    algorithms,
    upnDomains: ['acme.example'],
  })
  for (const { name, uri } of [...facts.places, { name: 'remote', uri: facts.remote }]) {
    idps[name] = {
      ...at(idps, 'login'),
      jwks: undefined,
      issuer: issuerNamed(name),
      jwksUri: uri,
      upnDomains: [`${name}.example`],
      subjectPrefix: `${name}:`,
    }
    clients[`client-${name}`] = {
      ...web,
      auth: { privateKeyJwt: { jwksUri: uri.replace('/good', '/good-client') } },
      idps: ['login'],
    }
  }
  idps['switched-off'] = {
    ...at(idps, 'login'),
    issuer: issuerNamed('switched-off'),
    upnDomains: ['switched-off.example'],
    subjectPrefix: 'switched-off:',
    disabled: true,
  }
  Object.assign(web, { idps: Object.keys(idps), actors: ['bot'] })
  clients[ASSERTER] = {
    ...web,
    auth: { privateKeyJwt: { jwks: facts.asserter } },
    idps: ['login'],
  }
  clients['disabled-web'] = { ...web, disabled: true }
  clients['mute-web'] = { ...web, grants: [] }
  clients['disabled-jwt'] = { ...at(clients, ASSERTER), disabled: true }
}

/** The active signing key, private half included, as someone would have it who broke into the store. */
export async function activeKeyOf(sts: Sts, tenant = 'acme'): Promise<TestKey> {
  const active = sts.deployment.keys.list(tenant).find(({ state }) => state === 'active')
  if (!active) throw new Error('there is no active key')
  return stolenKey(sts, active.kid, tenant)
}

/** The private half behind this kid. */
export async function stolenKey(sts: Sts, kid: string, tenant = 'acme'): Promise<TestKey> {
  const { privateKeys } = sts.deployment.stores
  const pkcs8 = await privateKeys?.get(tenant, kid, AbortSignal.timeout(5000))
  if (!pkcs8) throw new Error('the private half is gone')
  const privateKey = createPrivateKey({ key: pkcs8.reveal(), format: 'der', type: 'pkcs8' })
  const publicJwk = { ...createPublicKey(privateKey).export({ format: 'jwk' }), kid }
  return { kid, alg: 'ES256', privateKey, publicJwk }
}

/** Waits until `done` or a second has passed. */
export async function settled(done: () => boolean): Promise<void> {
  for (let round = 0; round < 100 && !done(); round++) await sleep(10)
}
