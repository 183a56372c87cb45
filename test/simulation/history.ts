import type { createKeys, KeysSettings } from '../../src/keys/keys.ts'
import { type Draw, drawFrom } from './draw.ts'
import { jump, orderAnything, trouble } from './events.ts'
import { createMachine, type Machine } from './machine.ts'
import { createPromises } from './promises.ts'
import { type SettledWorld, whatIsUnsettled } from './settled.ts'
import { DAY, HOUR, MINUTE, SECOND } from './times.ts'
import { createWorld, type World } from './world.ts'

const START = 1_800_000_000_000
const REPLICAS = 3
const ROUNDS = 60
/** A key given up is forgotten after seven days, whatever the key store says: a history in which it is down all the time stays below. */
const LONGEST_MILLISECONDS = 6.5 * DAY
/** Rounds of about a minute in which everything that is due must be done once nothing fails any more. */
const SETTLING_ROUNDS = 40

/** What became of a history. */
export interface Outcome {
  /** The first promise that did not hold, or undefined when all did. */
  readonly broken: string | undefined
  /** What happened in it, counted: a simulator that never gets anywhere would prove nothing. */
  readonly reached: ReadonlyMap<string, number>
}

/** What takes note of a history. */
interface Notes {
  broken: string | undefined
  readonly reached: Map<string, number>
  readonly happened: (what: string, detail?: string) => void
}

/** Everything there is in a history. */
interface Stage extends Omit<SettledWorld, 'machines'> {
  readonly draw: Draw
  readonly record: Notes
  readonly machines: Machine[]
  readonly switchOn: () => Machine
  readonly broken: (what: string) => void
}

/** Plays the history of this seed with the keys of the product, or with mutated ones; `tell` hears what happens in it. */
export async function playHistory(
  seed: number,
  create: typeof createKeys,
  tell: (line: string) => void = () => undefined,
): Promise<Outcome> {
  const stage = setStage(drawFrom(seed), create, tell)
  const { world, record, settings } = stage
  await playTrouble(stage)
  await settle(stage)
  // What was too young to sign then is old enough now.
  world.now += settings.publishAheadMilliseconds + 5 * MINUTE
  await settle(stage)
  if (world.lostRaces > 0) record.reached.set('lost race', world.lostRaces)
  return record
}

function setStage(draw: Draw, create: typeof createKeys, tell: (line: string) => void): Stage {
  const settings = settingsOf(draw)
  const reached = new Map<string, number>()
  const record: Notes = {
    broken: undefined,
    reached,
    happened(what, detail) {
      reached.set(what, (reached.get(what) ?? 0) + 1)
      if (detail !== undefined) tell(`${hoursOf(world)} ${what} ${detail}`)
    },
  }
  const broken = (what: string) => {
    tell(`BROKEN: ${what}`)
    record.broken ??= what
  }
  const promises = createPromises(settings, broken, record.happened)
  const world = createWorld(draw, START, promises)
  const parts = { world, promises, draw, settings: () => settings, createKeys: create, broken }
  const switchOn = () => createMachine(parts)
  const machines = Array.from({ length: REPLICAS }, switchOn)
  const algorithms = [...new Set([settings.algorithm, ...Object.values(settings.perTarget)])]
  return { draw, settings, record, world, machines, algorithms, switchOn, broken }
}

/** Days in which anything may fail. */
async function playTrouble(stage: Stage): Promise<void> {
  const { world, draw, machines, record } = stage
  const end = START + LONGEST_MILLISECONDS
  for (let done = 0; done < ROUNDS && world.now < end && !record.broken; done += 1) {
    trouble(world, draw, machines, record.happened)
    const order = jump(world, draw)
    world.now = Math.min(world.now, end)
    if (order) {
      record.happened('order', `to ${order.action} ${order.kid}`)
      draw.pick(machines).order(order.action, order.kid)
    }
    await playRound(stage, false)
  }
}

/** Nothing fails any more: everything that was put off must be done now. */
async function settle(stage: Stage): Promise<void> {
  const { world, machines, draw, record } = stage
  world.halvesDown = false
  for (const machine of machines) machine.cutOff = false
  let unsettled: string | undefined = 'nothing was tried'
  for (let left = SETTLING_ROUNDS; left > 0 && unsettled && !record.broken; left -= 1) {
    world.now += draw.between(40, 90) * SECOND
    await playRound(stage, true)
    unsettled = whatIsUnsettled(stage)
  }
  if (unsettled) stage.broken(`not settled: ${unsettled}`)
}

/** What the timers of the machines do, with crashes, orders and signatures in between, until no call is under way. */
async function playRound(stage: Stage, calm: boolean): Promise<void> {
  const { world, machines, draw, record } = stage
  const share = calm ? 1 : draw.pick([0.3, 0.6, 1])
  for (const machine of machines) if (draw.chance(share)) machine.tick()
  await allTurns()
  while (!record.broken && world.runOne()) {
    await someTurns()
    if (world.isIdle()) await allTurns()
    if (draw.chance(0.3)) signSomewhere(stage, draw.chance(0.5))
    if (calm) continue
    if (draw.chance(0.006)) crash(stage, draw.between(0, REPLICAS - 1))
    if (draw.chance(0.03)) orderAnything(world, draw, draw.pick(machines))
  }
  signSomewhere(stage, false)
}

/** The machine is gone with all that it knew, and another one starts in its place. */
function crash({ world, machines, switchOn, record }: Stage, at: number): void {
  const machine = machines[at]
  if (!machine) return
  world.abandon(machine)
  machines[at] = switchOn()
  record.happened('crash', `of replica ${at}`)
}

function signSomewhere({ draw, machines, algorithms, record }: Stage, isLate: boolean): void {
  const isSigned = draw.pick(machines).sign(draw.pick(algorithms), isLate)
  record.happened(isSigned ? 'signed' : 'not signed')
}

/** Hours since the beginning, to tell by. */
function hoursOf({ now }: World): string {
  return `${((now - START) / HOUR).toFixed(3)} h:`
}

/** Short rotations, so that a history of days has several. The waits stand to one another as the configuration demands. */
function settingsOf(draw: Draw): KeysSettings {
  return {
    algorithm: 'ES256',
    perTarget: draw.chance(0.15) ? { pay: 'EdDSA' } : {},
    publishAheadMilliseconds: DAY,
    rotateEveryMilliseconds: draw.pick([36 * HOUR, 3 * DAY]),
    successors: draw.pick([1, 1, 2]),
    longestTokenMilliseconds: 6 * HOUR,
    skewMilliseconds: MINUTE,
    jwksMaxAgeSeconds: 300,
    jwksStaleIfErrorSeconds: 43_200,
  }
}

/** Lets what was told something go on with it, as far as it needs no more than a few steps. */
async function someTurns(): Promise<void> {
  for (let turn = 0; turn < 16; turn += 1) await Promise.resolve()
}

/** Lets everything go on until it waits for a store. */
function allTurns(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
