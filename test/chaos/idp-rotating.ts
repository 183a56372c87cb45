/** An IdP that changes its keys again and again in front of a whole deployment under load, with forgers at work all the while. */
import type { TestKey } from '../fakes/jwt.ts'
import { at, EXCHANGE, JWT_TYPE, type Sts, startSts } from '../fakes/sts.ts'
import { keyMaker, startIdpServer } from './idp-server.ts'

const MODES = ['overlap', 'no overlap', 'kid reused'] as const
type Mode = (typeof MODES)[number]

/** What a run came to. */
export interface IdpRotationReport {
  readonly rotations: number
  /** How many of them in each mode. */
  readonly modes: Readonly<Record<Mode, number>>
  /** Good tokens that were exchanged by the load. */
  readonly issued: number
  /** Tokens that had to be refused and were tried: of attackers, and of withdrawn keys after the new set was read. */
  readonly forged: number
  readonly withdrawn: number
  /** Of them, those that were exchanged. */
  readonly wrongAccepts: number
  /** Good tokens of a published key that were refused, as `mode: answer`. */
  readonly refusedGood: readonly string[]
  /** Rotations whose first tokens under the new key were all exchanged by no more than one reading of the key set. */
  readonly firstByOneFetch: number
  /** Requests that the IdP got. */
  readonly jwksFetches: number
  readonly discoveryFetches: number
}

/** How much is to be done. */
export interface IdpRotationOptions {
  readonly rotations: number
  /** Clients that exchange good tokens all the time. */
  readonly clients?: number
  readonly forgers?: number
}

/** The wait of the key cache between two readings that tokens cause; the clock of the deployment is moved on by it. */
const COOLDOWN_MILLISECONDS = 10_000
const FIRST_TOKENS = 4

/** Runs it. The time of the deployment is ours, so that a wait of ten seconds costs none. */
export async function runIdpRotations({
  rotations,
  clients = 4,
  forgers = 2,
}: IdpRotationOptions): Promise<IdpRotationReport> {
  const idp = await startIdpServer()
  let ahead = 0
  const clock = { now: () => Date.now() + ahead }
  const newKey = keyMaker()
  let key = newKey()
  idp.publish(key)
  const sts = await startSts({
    parts: { clock },
    configure: (tree) => {
      const login = at(tree, 'tenants.acme.idps.login')
      delete login['jwks']
      login['issuer'] = idp.issuer
      tree['limits'] = { perClient: '1000000/s', perSubject: '1000000/s' }
    },
  })
  const tally = { issued: 0, forged: 0, withdrawn: 0, wrongAccepts: 0, firstByOneFetch: 0 }
  const refusedGood: string[] = []
  const modes = { overlap: 0, 'no overlap': 0, 'kid reused': 0 }
  const published = new Set<TestKey>([key])
  const over = new AbortController()

  async function load(): Promise<void> {
    while (!over.signal.aborted) {
      const by = key
      const answer = await exchange(sts, idp.token(by, clock.now()))
      if (answer === 'issued') tally.issued += 1
      // A key that went while its token was on the way may be refused.
      else if (published.has(by) && by === key) refusedGood.push(`load: ${answer}`)
    }
  }

  async function forge(): Promise<void> {
    while (!over.signal.aborted) {
      // Under the kid of the day, and under one that nobody has.
      const attacker = newKey(tally.forged % 2 === 0 ? key.kid : undefined)
      tally.forged += 1
      if ((await exchange(sts, idp.token(attacker, clock.now()))) === 'issued')
        tally.wrongAccepts += 1
    }
  }

  async function rotate(mode: Mode): Promise<void> {
    const former = key
    const remembered = idp.token(former, clock.now())
    for (let sight = 0; sight < 2; sight++) await exchange(sts, remembered)
    const successor = newKey(mode === 'kid reused' ? former.kid : undefined)
    // What was published before the former key is gone now in any mode.
    published.clear()
    published.add(successor)
    if (mode === 'overlap') published.add(former)
    idp.publish(...published)
    const before = idp.asked.jwks
    ahead += COOLDOWN_MILLISECONDS
    const first = await Promise.all(
      Array.from({ length: FIRST_TOKENS }, () => exchange(sts, idp.token(successor, clock.now()))),
    )
    const refused = first.filter((answer) => answer !== 'issued')
    refusedGood.push(...refused.map((answer) => `${mode}: ${answer}`))
    if (refused.length === 0 && idp.asked.jwks - before <= 1) tally.firstByOneFetch += 1
    key = successor
    modes[mode] += 1
    if (mode === 'overlap') {
      const answer = await exchange(sts, idp.token(former, clock.now()))
      if (answer !== 'issued') refusedGood.push(`the former key in overlap: ${answer}`)
      return
    }
    for (const dead of [remembered, idp.token(former, clock.now())]) {
      tally.withdrawn += 1
      if ((await exchange(sts, dead)) === 'issued') tally.wrongAccepts += 1
    }
  }

  try {
    await exchange(sts, idp.token(key, clock.now()))
    const work = [
      ...Array.from({ length: clients }, load),
      ...Array.from({ length: forgers }, forge),
    ]
    for (let done = 0; done < rotations; done++)
      await rotate(MODES[done % MODES.length] ?? 'overlap')
    over.abort()
    await Promise.all(work)
    return {
      rotations,
      modes,
      ...tally,
      refusedGood,
      jwksFetches: idp.asked.jwks,
      discoveryFetches: idp.asked.discovery,
    }
  } finally {
    over.abort()
    await sts.close()
    await idp.close()
  }
}

/** What is wrong with a run, as sentences; none when it kept every promise and enough happened to prove it. */
export function idpRotationFaults(report: IdpRotationReport): readonly string[] {
  const { rotations, wrongAccepts, refusedGood, firstByOneFetch, jwksFetches } = report
  const faults: string[] = []
  if (wrongAccepts > 0) faults.push(`${wrongAccepts} tokens were accepted that had to be refused`)
  if (refusedGood.length > 0)
    faults.push(`${refusedGood.length} good tokens were refused, e.g. ${refusedGood[0]}`)
  if (firstByOneFetch < rotations)
    faults.push(`${rotations - firstByOneFetch} rotations took more than one fetch`)
  // One at the start, one a rotation.
  if (jwksFetches > rotations + 1) faults.push(`${jwksFetches} fetches for ${rotations} rotations`)
  for (const [name, least] of [
    ['issued', rotations],
    ['forged', rotations],
    ['withdrawn', Math.floor(rotations / 3) * 4],
  ] as const)
    if (report[name] < least) faults.push(`only ${report[name]} ${name}`)
  return faults
}

/** Exchanges a token: `issued`, or status and code of the refusal. */
async function exchange(sts: Sts, token: string): Promise<string> {
  const { status, body } = await sts.token({
    grant_type: EXCHANGE,
    subject_token_type: JWT_TYPE,
    subject_token: token,
  })
  return status === 200 ? 'issued' : `${status} ${String(body['error_code'])}`
}
