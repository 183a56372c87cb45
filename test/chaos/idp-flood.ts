/** Tokens with key ids that nobody has, in a flood: what an attacker can send without any key, and what it costs the IdP and us. */
import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Pool } from 'undici'
import { isRefusal } from '../../src/lib/refusal.ts'
import { base64url, type TestKey } from '../fakes/jwt.ts'
import { at, EXCHANGE, JWT_TYPE } from '../fakes/sts.ts'
import { createSubjectWorld } from '../fakes/subject.ts'
import { type OnDisk, writeDeployment } from './deployment.ts'
import { type IdpServer, keyMaker, startIdpServer } from './idp-server.ts'
import { startServing } from './processes.ts'

/** What one flood came to. */
export interface FloodReport {
  readonly seconds: number
  readonly forged: number
  readonly forgedPerSecond: number
  /** Forged tokens that were not refused as `invalid_signature`; the answer of the first. */
  readonly otherwise: number
  readonly example: string | undefined
  /** Good tokens sent amid the flood, and those of them that were refused. */
  readonly good: number
  readonly goodRefused: number
  /** Readings of the key set, the first one included. */
  readonly fetches: number
  readonly fetchesAllowed: number
  /** In process: of the heap after a full collection. Over HTTP: resident memory of the server, after the first fifth. */
  readonly grownMegabytes: number
}

/** Both floods. */
export interface ForgedKidReport {
  readonly inProcess: FloodReport
  readonly overHttp: FloodReport
}

/** How hard, and for how long each. */
export interface FloodOptions {
  readonly perSecond: number
  readonly seconds: number
}

const COOLDOWN_SECONDS = 10
const MEGABYTE = 1024 * 1024
/** A negative cache without bounds would keep a hundred bytes of each kid at least: 30 MB in half a minute at 10,000/s. */
const MOST_GROWTH_MEGABYTES = { inProcess: 12, overHttp: 96 }
const TICK_MILLISECONDS = 5

/** Runs one after the other, since both take all of the machine. */
export async function runForgedKids(options: FloodOptions): Promise<ForgedKidReport> {
  return { inProcess: await floodVerifier(options), overHttp: await floodServer(options) }
}

/** What is wrong with a run, as sentences; none when it kept every promise. */
export function forgedKidFaults(report: ForgedKidReport): readonly string[] {
  const faults: string[] = []
  for (const name of ['inProcess', 'overHttp'] as const) {
    const { forged, otherwise, example, good, goodRefused, fetches, fetchesAllowed } = report[name]
    const { grownMegabytes } = report[name]
    if (fetches > fetchesAllowed)
      faults.push(`${name}: ${fetches} fetches, at most ${fetchesAllowed} were allowed`)
    if (otherwise > 0)
      faults.push(`${name}: ${otherwise} forged tokens were not refused as such: ${example}`)
    if (goodRefused > 0 || good < 1)
      faults.push(`${name}: ${goodRefused} of ${good} good tokens were refused`)
    if (grownMegabytes > MOST_GROWTH_MEGABYTES[name])
      faults.push(`${name}: memory grew by ${grownMegabytes} MB`)
    if (forged < 100) faults.push(`${name}: only ${forged} forged tokens`)
  }
  return faults
}

/** Counts what came of the tokens of one flood. */
function createTally() {
  const counts = { forged: 0, otherwise: 0, good: 0, goodRefused: 0 }
  let example: string | undefined
  return {
    counts,
    example: () => example,
    forged(answer: string) {
      counts.forged += 1
      if (answer === 'invalid_signature') return
      counts.otherwise += 1
      example ??= answer
    },
    good(answer: string) {
      counts.good += 1
      if (answer === 'issued') return
      counts.goodRefused += 1
      example ??= `a good token: ${answer}`
    },
  }
}

/** A token that is well formed and names a key of its own; its kid is as long as an attacker likes, here up to 200 characters. */
function createForger(claims: Readonly<Record<string, unknown>>): () => string {
  const payload = base64url(JSON.stringify(claims))
  const signature = base64url(Buffer.alloc(64, 1))
  let made = 0
  return () => {
    made += 1
    const kid = `forged-${made}`.padEnd(16 + (made % 184), 'x')
    return `${base64url(JSON.stringify({ alg: 'ES256', kid }))}.${payload}.${signature}`
  }
}

async function floodVerifier({ perSecond, seconds }: FloodOptions): Promise<FloodReport> {
  const world = createSubjectWorld()
  const begun = performance.now()
  const start = world.clock.time
  const tick = () => {
    world.clock.time = start + (performance.now() - begun)
    return performance.now() - begun
  }
  const forge = createForger(world.claims())
  const tally = createTally()
  const send = async (token: string): Promise<string> => {
    try {
      await world.subject(token)
      return 'issued'
    } catch (error) {
      return isRefusal(error) ? error.code : String(error)
    }
  }
  tally.good(await send(world.token()))
  const before = heapAfterCollection()
  const until = seconds * 1000
  for (let now = tick(); now < until; now = tick()) {
    const due = Math.min(Math.ceil((perSecond * now) / 1000) - tally.counts.forged, perSecond)
    for (let n = 0; n < due; n++) tally.forged(await send(forge()))
    tally.good(await send(world.token({ jti: `good-${tally.counts.good}` })))
    await setTimeout(TICK_MILLISECONDS)
  }
  const took = (performance.now() - begun) / 1000
  return summed(tally, took, {
    fetches: world.documents.asked.filter((url) => url.endsWith('/jwks')).length,
    grownMegabytes: (heapAfterCollection() - before) / MEGABYTE,
  })
}

async function floodServer({ perSecond, seconds }: FloodOptions): Promise<FloodReport> {
  const idp = await startIdpServer()
  const key = keyMaker()()
  idp.publish(key)
  const disk = await writeDeployment((tree) => {
    const login = at(tree, 'tenants.acme.idps.login')
    delete login['jwks']
    login['issuer'] = idp.issuer
    tree['limits'] = { perClient: '1000000/s', perSubject: '1000000/s' }
  })
  try {
    const served = await startServing(disk.configFile)
    try {
      return await floodUrl(served, { idp, key, disk, perSecond, seconds })
    } finally {
      served.kill('SIGTERM')
      await served.ended
    }
  } finally {
    await disk.close()
    await idp.close()
  }
}

interface HttpFlood extends FloodOptions {
  readonly idp: IdpServer
  readonly key: TestKey
  readonly disk: OnDisk
}

const CONNECTIONS = 32

async function floodUrl(
  { url, pid }: { readonly url: string; readonly pid: number },
  { idp, key, disk, perSecond, seconds }: HttpFlood,
): Promise<FloodReport> {
  const pool = new Pool(url, { connections: CONNECTIONS, pipelining: 1 })
  const claims = JSON.parse(
    Buffer.from(idp.token(key, Date.now()).split('.')[1] ?? '', 'base64url').toString(),
  )
  const forge = createForger({ ...claims, exp: claims.exp + seconds })
  const tally = createTally()
  const send = async (token: string): Promise<string> => {
    const form = { grant_type: EXCHANGE, subject_token_type: JWT_TYPE, subject_token: token }
    const { statusCode, body } = await pool.request({
      method: 'POST',
      path: '/token',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        authorization: disk.basic,
      },
      body: new URLSearchParams(form).toString(),
    })
    const answer = (await body.json()) as Readonly<Record<string, unknown>>
    return statusCode === 200 ? 'issued' : String(answer['error_code'])
  }
  tally.good(await send(idp.token(key, Date.now())))
  const begun = performance.now()
  const elapsed = () => (performance.now() - begun) / 1000
  let before: number | undefined
  const work = async () => {
    while (elapsed() < seconds) {
      if (tally.counts.forged >= perSecond * elapsed()) await setTimeout(TICK_MILLISECONDS)
      else tally.forged(await send(forge()))
      if (elapsed() > seconds / 5) before ??= residentBytes(pid)
    }
  }
  const beside = async () => {
    while (elapsed() < seconds) {
      tally.good(await send(idp.token(key, Date.now())))
      await setTimeout(50)
    }
  }
  await Promise.all([...Array.from({ length: CONNECTIONS }, work), beside()])
  const took = elapsed()
  const grown = residentBytes(pid) - (before ?? residentBytes(pid))
  await pool.destroy()
  return summed(tally, took, { fetches: idp.asked.jwks, grownMegabytes: grown / MEGABYTE })
}

function summed(
  tally: ReturnType<typeof createTally>,
  took: number,
  { fetches, grownMegabytes }: Pick<FloodReport, 'fetches' | 'grownMegabytes'>,
): FloodReport {
  return {
    ...tally.counts,
    example: tally.example(),
    seconds: round(took),
    forgedPerSecond: Math.round(tally.counts.forged / took),
    fetches,
    // The first one, and one whenever the cooldown was over.
    fetchesAllowed: 1 + Math.floor(took / COOLDOWN_SECONDS),
    grownMegabytes: round(grownMegabytes),
  }
}

const round = (value: number): number => Math.round(value * 10) / 10

function heapAfterCollection(): number {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect === 'function') collect()
  return process.memoryUsage().heapUsed
}

function residentBytes(pid: number): number {
  const [, kilobytes] =
    /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1024
}
