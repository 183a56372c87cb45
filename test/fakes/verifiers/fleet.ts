import { type Part, pythonWithPyJwt } from '../../skip.ts'
import { apacheOauth2, type InstalledApache, startApacheVerifier } from './apache.ts'
import { createJoseVerifier } from './jose.ts'
import { createJsonwebtokenVerifier } from './jsonwebtoken.ts'
import { createOwnVerifier } from './own.ts'
import { createPyJwtVerifier } from './pyjwt.ts'
import type { Trusted, Verifier, VerifierOptions } from './verifier.ts'

/** What the fleet needs that a machine may lack. */
export interface FleetParts {
  readonly python: string
  readonly apache: InstalledApache
}

/** All of {@link FleetParts}: the fleet is whole or it proves nothing. */
export const fleetParts: Part<FleetParts> = {
  name: `${pythonWithPyJwt.name}, ${apacheOauth2.name}`,
  mend: `${pythonWithPyJwt.mend} ${apacheOauth2.mend}`,
  find() {
    const python = pythonWithPyJwt.find()
    if ('missing' in python) return python
    const apache = apacheOauth2.find()
    if ('missing' in apache) return apache
    return { found: { python: python.found, apache: apache.found } }
  },
}

/** One way to start a verifier. */
export type StartVerifier = (
  trusted: readonly Trusted[],
  options: VerifierOptions,
  parts: FleetParts,
) => Verifier | Promise<Verifier>

/** The five kinds, each by what it is called. */
export const KINDS: Readonly<Record<string, StartVerifier>> = {
  jose: createJoseVerifier,
  jsonwebtoken: createJsonwebtokenVerifier,
  PyJWT: (trusted, options, { python }) => createPyJwtVerifier(trusted, options, python),
  Apache: (trusted, options, { apache }) => startApacheVerifier(trusted, options, apache),
  rolemint: createOwnVerifier,
}

/** One verifier of each kind for the same issuers. When one cannot start, none is left running. */
export async function startFleet(
  trusted: readonly Trusted[],
  options: VerifierOptions,
  parts: FleetParts,
): Promise<readonly Verifier[]> {
  const started = await Promise.allSettled(
    Object.values(KINDS).map(async (start) => start(trusted, options, parts)),
  )
  const fleet = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const failed = started.find((one) => one.status === 'rejected')
  if (!failed) return fleet
  await Promise.all(fleet.map((one) => one.close()))
  throw failed.reason
}
