/** Two tenants in one deployment, each with an IdP, a client of the same name, and a secret of its own. */
import { createHash, randomBytes } from 'node:crypto'
import { jwksOf, mint, newTestKey } from '../../fakes/jwt.ts'
import { at, CLIENT, ISSUER, type Sts, startSts } from '../../fakes/sts.ts'
import { parts } from './forge.ts'
import { activeKeyOf } from './world.ts'

export const SECOND_ISSUER = 'https://sts.beta.example'
const SECOND_IDP = 'https://login.beta.example'

/** The deployment and what each tenant knows. */
export interface TwoTenants {
  readonly sts: Sts
  secretOf(issuer: string): string
  /** A good token of the tenant's IdP. */
  tokenFor(issuer: string): string
  /** This token again, signed by the active key of `issuer`'s tenant, in the name of `claimed`. */
  forgedFrom(issuer: string, token: string, claimed?: string): Promise<string>
}

const nameOf = (issuer: string): string => (issuer === ISSUER ? 'acme' : 'beta')

/** Starts both; close `sts` afterwards. */
export async function startTwoTenants(): Promise<TwoTenants> {
  const key = newTestKey('ES256', 'idp-1')
  const secret = `rms_${randomBytes(32).toString('base64url')}`
  const sts = await startSts({
    configure: (tree) => {
      const acme = at(tree, 'tenants.acme')
      const beta = structuredClone(acme)
      beta['issuer'] = SECOND_ISSUER
      Object.assign(at(beta, 'idps.login'), { issuer: SECOND_IDP, jwks: jwksOf(key) })
      Object.assign(at(beta, `clients.${CLIENT}`), {
        auth: {
          clientSecret: { sha256: [createHash('sha256').update(secret).digest('base64url')] },
        },
      })
      at(tree, 'tenants')['beta'] = beta
    },
  })
  return {
    sts,
    secretOf: (issuer) => (issuer === SECOND_ISSUER ? secret : sts.clientSecret),
    tokenFor: (issuer) =>
      issuer === SECOND_ISSUER
        ? sts.subjectToken({ iss: SECOND_IDP }, { key })
        : sts.subjectToken(),
    async forgedFrom(issuer, token, claimed = issuer) {
      const payload = JSON.parse(Buffer.from(parts(token)[1], 'base64url').toString()) as Record<
        string,
        unknown
      >
      return mint({
        key: await activeKeyOf(sts, nameOf(issuer)),
        header: { typ: 'at+jwt' },
        payload: { ...payload, iss: claimed, tenant: nameOf(claimed) },
      })
    },
  }
}
