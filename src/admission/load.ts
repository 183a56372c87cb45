import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { createFairQueue, type FairQueue, type Waiter } from './fair-queue.ts'
import { type Limiter, type LimiterBounds, newLimiter, step } from './limiter.ts'

/** What must be served when not everything can be. `vital`: health, keys, metadata, revocation; they never wait and are never shed. */
export type Priority = 'vital' | 'introspect' | 'exchange'

/** Leave to work on one request. */
export interface Place {
  /** Gives the place back; exactly once, however the request ended. */
  leave(): void
}

/** Decides how much is worked on at once. */
export interface LoadGate {
  /**
   * A place at once where there is room, else a promise of one: the queue is short and fair among tenants, and its oldest go first but in a storm.
   * @throws {Refusal} `overloaded` with `retryAfterSeconds`, thrown or as the rejection, when there is no room in time.
   */
  enter(tenant: Tenant | undefined, priority: Priority): Place | Promise<Place>
  /** What {@link enter} would throw at once, so that a request can be refused before its body is read; takes no place. */
  refusal(tenant: Tenant | undefined, priority: Priority): Refusal | undefined
  /** True when even refusing costs too much, so that less should be read from connections for a moment. */
  readonly overwhelmed: boolean
  /** A request was told that there is no room: that is work too, and has a budget. */
  refused(): void
  readonly facts: () => LoadFacts
}

/** What an operator sees of it. */
export interface LoadFacts {
  /** Requests that may begin in one turn of the event loop before others have to wait. */
  readonly limit: number
  readonly inFlight: number
  readonly queued: number
  /** Requests refused since the start, by priority. */
  readonly shed: Readonly<Record<Priority, number>>
}

/** What a gate is made of. */
export interface LoadGateDeps {
  /** Monotonic. */
  readonly clock: Clock
  /** Microseconds of processor time that the thread of the loop has used: `process.threadCpuUsage`. */
  readonly cpu: () => { readonly user: number; readonly system: number }
  /** Runs `work` after so many milliseconds, or as soon as the loop gets to it: `setTimeout`. */
  readonly after: (work: () => void, milliseconds: number) => unknown
  /** Runs `work` once the event loop has looked at all that has arrived: `setImmediate`. */
  readonly afterTurn: (work: () => void) => unknown
}

/** Bounds of a gate; every one has a default. */
export interface LoadGateOptions extends LimiterBounds {
  /** Requests in flight, most of them waiting for something: what they hold is memory. One tenant may have half. */
  readonly mostInFlight: number
  /** Requests that wait. One tenant may have half. */
  readonly mostQueued: number
  /** Longest wait. */
  readonly queueMilliseconds: number
}

const DEFAULTS: LoadGateOptions = {
  floor: 8,
  cap: 64,
  initial: 16,
  // Shorter turns make smaller group commits, and those cost more: at 1.5 ms some 5 to 10 % of what can be served.
  lateMilliseconds: 2,
  mostInFlight: 2000,
  mostQueued: 512,
  queueMilliseconds: 250,
}

/** How often the gate looks about while somebody waits. */
const TICK_MILLISECONDS = 2
/** Nobody waited for so long: what the limiter knew is of no use any more. */
const CALM_MILLISECONDS = 1000
/** More who wait are a crowd. A pool of 64 connections that sends on all of them is none: some of its calls are in flight. */
const CROWD = 48
/**
 * Outside a storm so many of one tenant that has the server for itself begin at once: short turns would only make smaller group commits of them. Beside
 * another tenant they would make it wait.
 */
const FEW = 64
/** A crowd that stayed for so long, or filled the queue, is no burst but a load that is too high, until nobody was refused for as long (CoDel, RFC 8289 §3). */
const STANDING_MILLISECONDS = 100
/** Nor is it one that saw fewer ticks, on a machine that is busy with something else. */
const STANDING_TICKS = 10
/** Then whoever cannot begin soon had better know soon. */
const STANDING_WAIT_MILLISECONDS = 20
/** And the queue of a tenant is no longer than what can begin in so many turns. */
const STANDING_TURNS = 1
/** Nobody is given up after fewer turns, however long those are on a machine that is busy with something else. */
const EXPIRING_TURNS = 3

/** Introspection goes first, but every so many who may begin one is an exchange, or a storm of the one would end all of the other. */
const EXCHANGE_EVERY = 8
/**
 * Refusals that each request begun pays for. Reading and refusing a request costs about a sixth of serving it, so this is some 4 % of the thread, at
 * any speed of the machine; what comes on top is told its refusal later, which keeps its connection from sending more.
 */
const REFUSALS_PER_START = 0.25
/** Refusals a millisecond that are free, so that some are given when nothing can begin. */
const REFUSALS_PER_MILLISECOND = 0.2
const MOST_REFUSALS_AHEAD = 64

/** Spread, or all who were refused in one second would be back in the same one. */
const RETRY_AFTER_SECONDS = [1, 2, 3, 4] as const

type Shedding = Exclude<Priority, 'vital'>

interface Waiting extends Waiter {
  readonly account: Account
  readonly priority: Shedding
  readonly resolve: (place: Place) => void
  readonly reject: (refusal: Refusal) => void
}

/** What a tenant has at work. Requests in flight are counted by priority. */
interface Account extends Record<Shedding, number> {
  readonly tenant: string
  /** For their turn. */
  waiting: number
}

/** Those of one priority. They are counted apart, or exchanges that wait for a slow source would leave no room for introspection. */
class Lane {
  readonly queue: FairQueue<Waiting> = createFairQueue()
  inFlight = 0
}

/**
 * A gate for one event loop.
 *
 * Exchanges are bound by the one thread, and the thread works in turns: it looks at all that has arrived, does what comes of it, and looks again. So what
 * is limited is how many requests begin in one turn. Then turns are short, and whatever must not wait (a probe, a key set, a revocation, the answer
 * to an exchange begun earlier) is come to within one; {@link step} finds the limit that keeps them so. How many are in flight follows from
 * it, and matters little, as those wait for the ledger or a source. Below the limit entering costs some counters and a callback a turn.
 */
export function createLoadGate(
  deps: LoadGateDeps,
  changes: Partial<LoadGateOptions> = {},
): LoadGate {
  return new Gate(deps, { ...DEFAULTS, ...changes })
}

const NOBODY = ''
const VITAL: Place = { leave: () => undefined }

class Gate implements LoadGate {
  readonly #deps: LoadGateDeps
  readonly #options: LoadGateOptions
  readonly #lanes: Readonly<Record<Shedding, Lane>> = {
    introspect: new Lane(),
    exchange: new Lane(),
  }
  // Made once: an error's stack costs more than all else about a refusal.
  readonly #refusals = RETRY_AFTER_SECONDS.map(overloaded)
  readonly #shed: Record<Priority, number> = { vital: 0, introspect: 0, exchange: 0 }
  #limiter: Limiter
  #queued = 0
  /** Of the tenants that have anything at work, and of no others. */
  readonly #accounts = new Map<string, Account>()
  /** Introspections that began since the last exchange did. */
  #introspections = 0
  /** When fewer than a crowd waited, and the ticks since. */
  #lastShort = 0
  #ticks = 0
  /** The queue is no burst, and when that last showed. */
  #isStanding = false
  #lastSign = Number.NEGATIVE_INFINITY
  #tickedAt = Number.NEGATIVE_INFINITY
  #cpuAt = 0
  #isTicking = false
  #isTurnOpen = false
  /** Begun in this turn. */
  #started = 0
  #credit = MOST_REFUSALS_AHEAD
  #creditAt: number
  #nextRefusal = 0

  constructor(deps: LoadGateDeps, options: LoadGateOptions) {
    this.#deps = deps
    this.#options = options
    this.#limiter = newLimiter(options)
    this.#creditAt = deps.clock.now()
  }

  enter(tenant: Tenant | undefined, priority: Priority): Place | Promise<Place> {
    if (priority === 'vital') return VITAL
    const refusal = this.refusal(tenant, priority)
    if (refusal) {
      this.refused()
      throw refusal
    }
    const account = this.#accountOf(tenant?.name ?? NOBODY)
    account.waiting += 1
    if (this.#queued === 0 && this.#mayBegin()) return this.#start(account, priority)
    return new Promise((resolve, reject) => {
      const since = this.#deps.clock.now()
      this.#startTicking(since)
      this.#queued += 1
      this.#lanes[priority].queue.push(account.tenant, {
        since,
        account,
        priority,
        resolve,
        reject,
      })
    })
  }

  refusal(tenant: Tenant | undefined, priority: Priority): Refusal | undefined {
    if (priority === 'vital') return undefined
    const name = tenant?.name ?? NOBODY
    // Never more than is still free: one tenant can take half, a second half of the rest, and there is always room for one more (dynamic thresholds).
    const { queue, inFlight } = this.#lanes[priority]
    const own = this.#accounts.get(name)?.[priority] ?? 0
    if (own >= this.#options.mostInFlight - inFlight) return this.#refuse(priority)
    if (this.#queued === 0) return undefined
    const free = this.#options.mostQueued - queue.length
    const most = this.#isStanding ? Math.min(free, this.#limiter.limit * STANDING_TURNS) : free
    if (queue.lengthOf(name) < most) return undefined
    this.#stand(this.#deps.clock.now())
    return this.#refuse(priority)
  }

  get overwhelmed(): boolean {
    const now = this.#deps.clock.now()
    this.#earn((now - this.#creditAt) * REFUSALS_PER_MILLISECOND)
    this.#creditAt = now
    return this.#credit < 1
  }

  refused(): void {
    this.#credit -= 1
  }

  // A member that can be handed on alone, as metrics ask for it.
  readonly facts = (): LoadFacts => ({
    limit: Math.round(this.#limiter.limit),
    inFlight: this.#lanes.introspect.inFlight + this.#lanes.exchange.inFlight,
    queued: this.#queued,
    shed: { ...this.#shed },
  })

  /** Whether one more may begin in this turn. */
  #mayBegin(): boolean {
    if (this.#started < this.#limiter.limit) return true
    if (this.#isStanding || this.#accounts.size > 1) return false
    const { introspect, exchange } = this.#lanes
    const [sole] = this.#accounts.values()
    return introspect.inFlight + exchange.inFlight + (sole?.waiting ?? 0) <= FEW
  }

  #accountOf(tenant: string): Account {
    let account = this.#accounts.get(tenant)
    if (!account) {
      account = { tenant, introspect: 0, exchange: 0, waiting: 0 }
      this.#accounts.set(tenant, account)
    }
    return account
  }

  #closeIfEmpty({ tenant, introspect, exchange, waiting }: Account): void {
    if (introspect + exchange + waiting === 0) this.#accounts.delete(tenant)
  }

  #start(account: Account, priority: Shedding): Place {
    const lane = this.#lanes[priority]
    account.waiting -= 1
    account[priority] += 1
    lane.inFlight += 1
    this.#started += 1
    this.#openTurn()
    this.#earn(REFUSALS_PER_START)
    let isTaken = true
    return {
      leave: () => {
        if (!isTaken) return
        isTaken = false
        lane.inFlight -= 1
        account[priority] -= 1
        this.#closeIfEmpty(account)
      },
    }
  }

  #openTurn(): void {
    if (this.#isTurnOpen) return
    this.#isTurnOpen = true
    this.#deps.afterTurn(this.#endTurn)
  }

  /** All that had arrived has been looked at, and a new turn begins with those who waited. */
  readonly #endTurn = (): void => {
    this.#isTurnOpen = false
    this.#started = 0
    while (this.#queued > 0 && this.#mayBegin()) {
      const priority = this.#nextPriority()
      // In a storm the oldest are those whose callers have given up, or will have when they are answered; before one, they have waited longest.
      const waiting = priority && this.#lanes[priority].queue.next(this.#isStanding)
      if (!waiting) break
      this.#queued -= 1
      this.#introspections = priority === 'introspect' ? this.#introspections + 1 : 0
      waiting.resolve(this.#start(waiting.account, waiting.priority))
    }
    if (this.#queued > 0) this.#openTurn()
  }

  #nextPriority(): Shedding | undefined {
    const { introspect, exchange } = this.#lanes
    if (introspect.queue.length === 0) return exchange.queue.length > 0 ? 'exchange' : undefined
    const isTurnOfExchange = exchange.queue.length > 0 && this.#introspections >= EXCHANGE_EVERY - 1
    return isTurnOfExchange ? 'exchange' : 'introspect'
  }

  #startTicking(now: number): void {
    if (this.#isTicking) return
    this.#isTicking = true
    if (now - this.#tickedAt > CALM_MILLISECONDS) this.#limiter = newLimiter(this.#options)
    this.#noteStanding(now)
    this.#tickedAt = now
    this.#cpuAt = this.#cpuMilliseconds()
    this.#deps.after(this.#tick, TICK_MILLISECONDS)
  }

  readonly #tick = (): void => {
    const now = this.#deps.clock.now()
    const milliseconds = now - this.#tickedAt
    const lateMilliseconds = milliseconds - TICK_MILLISECONDS
    const cpu = this.#cpuMilliseconds()
    const sample = { milliseconds, lateMilliseconds, cpuMilliseconds: cpu - this.#cpuAt }
    this.#limiter = step(this.#limiter, sample, this.#options)
    this.#tickedAt = now
    this.#cpuAt = cpu
    this.#expire(now, milliseconds)
    this.#noteStanding(now)
    this.#isTicking = this.#queued > 0
    if (this.#isTicking) this.#deps.after(this.#tick, TICK_MILLISECONDS)
  }

  #cpuMilliseconds(): number {
    const { user, system } = this.#deps.cpu()
    return (user + system) / 1000
  }

  #noteStanding(now: number): void {
    if (now - this.#lastSign > STANDING_MILLISECONDS) this.#isStanding = false
    if (this.#queued <= CROWD) {
      this.#lastShort = now
      this.#ticks = 0
      return
    }
    this.#ticks += 1
    if (now - this.#lastShort > STANDING_MILLISECONDS && this.#ticks > STANDING_TICKS)
      this.#stand(now)
  }

  #stand(now: number): void {
    this.#isStanding = true
    this.#lastSign = now
  }

  #expire(now: number, turnMilliseconds: number): void {
    const wanted = this.#isStanding ? STANDING_WAIT_MILLISECONDS : this.#options.queueMilliseconds
    // Whoever came in the last turns had no chance yet.
    const wait = Math.max(wanted, EXPIRING_TURNS * turnMilliseconds)
    for (const { queue } of [this.#lanes.introspect, this.#lanes.exchange]) {
      for (const { account, priority, reject } of queue.expire(now - wait)) {
        this.#queued -= 1
        account.waiting -= 1
        this.#closeIfEmpty(account)
        this.#stand(now)
        this.refused()
        reject(this.#refuse(priority))
      }
    }
  }

  #refuse(priority: Priority): Refusal {
    this.#shed[priority] += 1
    this.#nextRefusal = (this.#nextRefusal + 1) % this.#refusals.length
    return this.#refusals[this.#nextRefusal] ?? overloaded(RETRY_AFTER_SECONDS[0])
  }

  #earn(refusals: number): void {
    this.#credit = Math.min(this.#credit + refusals, MOST_REFUSALS_AHEAD)
  }
}

function overloaded(retryAfterSeconds: number): Refusal {
  return new Refusal('overloaded', 'There was no room for the request; retry later.', {
    retryAfterSeconds,
  })
}
