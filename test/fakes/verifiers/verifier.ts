/** A verifier as others run it: code that is not ours, told where our keys are, which keeps them for as long as `max-age` says. */
export interface Verifier {
  readonly kind: string
  /** Undefined when the token is accepted as one of `issuer`, else why it is not. Settles within a minute, and never rejects. */
  verify(issuer: string, token: string): Promise<string | undefined>
  /** How often it has fetched a key set so far. */
  fetches(): number
  close(): Promise<void>
}

/** One issuer that a verifier is configured for, and the audience its tokens must have. */
export interface Trusted {
  readonly issuer: string
  readonly jwksUri: string
  readonly audience: string
}

/** How a verifier is set up. */
export interface VerifierOptions {
  /** How long a key set is kept, in seconds: the `max-age` that the issuers promise, whatever a single answer says. */
  readonly maxAgeSeconds: number
  /** How far its clock may be off, in seconds. */
  readonly leewaySeconds: number
}

/** Makes what a verifier keeps for each issuer, found by its name. */
export function byIssuer<T>(
  trusted: readonly Trusted[],
  make: (one: Trusted, index: number) => T,
): (issuer: string) => T {
  const made = new Map(trusted.map((one, index) => [one.issuer, make(one, index)]))
  return (issuer) => {
    const found = made.get(issuer)
    if (found === undefined) throw new Error(`no verifier was set up for ${issuer}`)
    return found
  }
}

/** What an attempt that throws when it refuses came to. */
export async function refusalOf(attempt: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await attempt()
    return undefined
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  }
}
