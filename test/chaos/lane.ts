/** One server with a store of its own, killed and started again and again under load. */
import { setTimeout as sleep } from 'node:timers/promises'
import { at } from '../fakes/sts.ts'
import { findMissing } from './audit.ts'
import { type OnDisk, writeDeployment } from './deployment.ts'
import { type Asked, again, type Caller, createCaller, type Reply } from './load.ts'
import { bareEnvironment, startServing } from './processes.ts'

/** What happened in a lane. */
export interface Tally {
  kills: number
  /** Tokens that were answered: status 200, and the whole body read. */
  acknowledged: number
  /** Of those, how many the ledger does not hold. */
  missing: number
  refused503: number
  /** Replies under load that are neither a token nor a 503; nothing but load and kills is wrong here. */
  unexpected: Record<string, number>
  /** Once-only ids that were shown again after a restart. */
  replayed: number
  /** Of those, how many were accepted a second time. */
  acceptedTwice: number
  /** Answered tokens that were shown to the restarted server, and how many it did not know. */
  introspected: number
  inactive: number
  startMilliseconds: number[]
}

/** A tally of nothing. */
export const emptyTally = (): Tally => ({
  kills: 0,
  acknowledged: 0,
  missing: 0,
  refused503: 0,
  unexpected: {},
  replayed: 0,
  acceptedTwice: 0,
  introspected: 0,
  inactive: 0,
  startMilliseconds: [],
})

/** When a server is killed, counted from the first request; uniform, so that every part of a request is hit. */
const KILL_AFTER = { least: 20, most: 300 }
const INTROSPECTED_PER_KILL = 4
/** Replays of one round; all of a fast round would take longer than the round. */
const REPLAYED_PER_KILL = 30

/** Runs rounds as long as `another` says so; `another` is asked once for each kill. */
export async function runLane(another: () => boolean): Promise<Tally> {
  // Once-only subject tokens besides once-only assertions: two kinds of ids that a crash must not free.
  const disk = await writeDeployment((tree) => {
    at(tree, 'tenants.acme.idps.login')['onceOnly'] = true
  })
  const tally = emptyTally()
  const answered: string[] = []
  try {
    let before: readonly Asked[] = []
    await warmUp(disk)
    while (another()) {
      before = await runRound(disk, tally, answered, before)
    }
    await runRound(disk, tally, answered, before, { kill: false })
    tally.acknowledged = answered.length
    tally.missing = await findMissing(disk.configFile, answered)
    return tally
  } finally {
    await disk.close()
  }
}

/** Starts once and stops in peace, which makes the keys and leaves compiled code behind: starts are most of the time. */
async function warmUp(disk: OnDisk): Promise<void> {
  const server = await startServing(disk.configFile, { env: environment(disk) })
  server.kill('SIGTERM')
  await server.ended
}

const environment = (disk: OnDisk) =>
  bareEnvironment({ NODE_COMPILE_CACHE: `${disk.folder}/compiled` })

/** Start, show everything of the round before again, load, kill. Gives what was asked under load. */
async function runRound(
  disk: OnDisk,
  tally: Tally,
  answered: string[],
  before: readonly Asked[],
  { kill = true } = {},
): Promise<readonly Asked[]> {
  const began = performance.now()
  const server = await startServing(disk.configFile, { env: environment(disk) })
  tally.startMilliseconds.push(performance.now() - began)
  const caller = createCaller(server.url, disk)
  try {
    await showAgain(caller, disk, tally, answered, before)
    if (!kill) return []
    const load = caller.untilCut()
    await sleep(KILL_AFTER.least + Math.random() * (KILL_AFTER.most - KILL_AFTER.least))
    server.kill('SIGKILL')
    const asked = await load
    tally.kills += 1
    for (const { reply } of asked) count(tally, answered, reply)
    return asked
  } finally {
    server.kill('SIGKILL')
    await server.ended
    await caller.close()
  }
}

function count(tally: Tally, answered: string[], reply: Reply): void {
  if (reply.kind === 'token') answered.push(reply.token)
  else if (reply.kind === 'refused') {
    if (reply.status === 503) tally.refused503 += 1
    else {
      const what = `${reply.status} ${reply.code}`
      tally.unexpected[what] = (tally.unexpected[what] ?? 0) + 1
    }
  }
}

/**
 * Shows once-only ids of the last round to the restarted server, each by two requests at once. One whose exchange was
 * answered may not succeed again; one whose exchange was cut may have been recorded or not, and succeeds at most once.
 */
async function showAgain(
  caller: Caller,
  disk: OnDisk,
  tally: Tally,
  answered: string[],
  before: readonly Asked[],
): Promise<void> {
  const spent = before.filter(({ reply }) => reply.kind === 'token')
  const open = before.filter(({ reply }) => reply.kind === 'cut')
  // The last ones were nearest to the kill.
  const shown = [...spent.slice(-REPLAYED_PER_KILL), ...open]
  await Promise.all(
    shown.map(async ({ ask, reply }) => {
      const replies = await Promise.all([
        caller.exchange(again(ask, disk)),
        caller.exchange(again(ask, disk)),
      ])
      tally.replayed += 1
      const accepted = replies.filter(({ kind }) => kind === 'token').length
      if (accepted > (reply.kind === 'token' ? 0 : 1)) tally.acceptedTwice += 1
      for (const each of replies) noteReplay(tally, answered, each)
    }),
  )
  const tokens = spent.flatMap(({ reply }) => (reply.kind === 'token' ? [reply.token] : []))
  for (const token of tokens.slice(-INTROSPECTED_PER_KILL)) {
    tally.introspected += 1
    if (!(await caller.isActive(token))) tally.inactive += 1
  }
}

/** A replay is to be refused as such: a refusal for another reason would prove nothing. */
function noteReplay(tally: Tally, answered: string[], reply: Reply): void {
  if (reply.kind === 'refused' && ['replayed', 'client_auth_failed'].includes(reply.code)) return
  if (reply.kind === 'cut')
    tally.unexpected['replay cut'] = (tally.unexpected['replay cut'] ?? 0) + 1
  else count(tally, answered, reply)
}
