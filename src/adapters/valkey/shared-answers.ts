/**
 * Answers of entitlement sources in Valkey, for all replicas.
 *
 * An answer is sealed for its place, so whoever can write to the server can take answers away and put older ones back, until their own end
 * inside the seal, but can neither make one nor move one nor lengthen its life. Names of users are in no key and no message.
 *
 * All answers of a user lie in one hash, so that DEL forgets them all. A tenant and a source have a mark each: nothing that was asked for
 * before it counts. An answer without its marks counts for nothing, so a server that evicts a mark forgets answers and never brings one back.
 */
import { createHash } from 'node:crypto'
import type { AnswerPlace, Purge, SharedAnswers } from '../../entitlement/shared-answers.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/id.ts'
import type { CacheKeys } from './cache-keys.ts'
import type { LuaScript, Valkey } from './connection.ts'
import type { Hearing } from './listener.ts'
import { hiddenName, seal, unseal } from './sealing.ts'

const script = (text: string): LuaScript => ({
  text,
  sha1: createHash('sha1').update(text).digest('hex'),
})

const GET = script(`
local whole, part = redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3])
if not whole or not part then return false end
if redis.call('HSTRLEN', KEYS[1], ARGV[1]) > tonumber(ARGV[2]) then return false end
return {redis.call('HGET', KEYS[1], ARGV[1]), tonumber(whole), tonumber(part)}
`)

/** The first answer makes the marks, just before itself. */
const PUT = script(`
local asked, keep, slack = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
for i = 2, 4 do
  local mark = redis.call('GET', KEYS[i])
  if mark then
    if asked <= tonumber(mark) + slack then return 0 end
  elseif i < 4 then
    redis.call('SET', KEYS[i], string.format('%.0f', asked - slack - 1))
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < keep then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 1
`)

const PURGE = script(`
if ARGV[3] ~= '' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) else redis.call('SET', KEYS[1], ARGV[2]) end
if KEYS[2] then redis.call('DEL', KEYS[2]) end
redis.call('PUBLISH', ARGV[1], ARGV[4])
return 1
`)

/** Replicas' clocks may differ by this much: an answer that was asked for just after a purge is not shared. */
const SLACK_MILLISECONDS = 2000
/** For how long an answer may be under way when its user is purged: longer than any call of a source. */
const GONE_MILLISECONDS = 300_000
const MOST_BYTES = 64 * 1024
const MOST_MESSAGE_BYTES = 4096
const PREFIX = '{rolemint}:roles'

/** Where replicas tell each other what to forget. */
export const PURGE_CHANNEL = `${PREFIX}:purges`

/** What the answers are kept with. */
export interface ValkeySharedAnswersDeps {
  readonly valkey: Pick<Valkey, 'run'>
  readonly keys: CacheKeys
  readonly clock: Clock
  readonly random: Random
  /** All tenants: what may have been purged while nothing was heard. */
  readonly tenants: () => Iterable<string>
}

/** The answers, and the ear that a listener on {@link PURGE_CHANNEL} is given. */
export interface ValkeySharedAnswers extends SharedAnswers {
  readonly hearing: Hearing
}

/** Shares answers through Valkey. */
export function createValkeySharedAnswers(deps: ValkeySharedAnswersDeps): ValkeySharedAnswers {
  const { valkey, keys, clock, random } = deps
  const self = random.bytes(12).toString('base64url')
  const listeners = new Set<(what: Purge) => void>()
  const name = (kind: string, ...parts: string[]): string =>
    `${PREFIX}:${kind}:${hiddenName(keys.names, kind, ...parts)}`
  const marks = ({ tenant, source }: AnswerPlace): [string, string] => [
    name('since', tenant),
    name('since', tenant, sourceName(source)),
  ]
  const tell = (what: Purge): void => {
    for (const listener of listeners) listener(what)
  }

  return {
    async get(place, signal) {
      const { tenant, source, user } = place
      const named = [name('user', tenant, user), ...marks(place)]
      const field = hiddenName(keys.names, 'source', source)
      const reply = await valkey.run(GET, named, [field, MOST_BYTES], signal)
      if (!Array.isArray(reply) || !Buffer.isBuffer(reply[0])) return undefined
      const kept = unseal(keys.answers, [tenant, source, user], reply[0])
      if (!isKept(kept)) return undefined
      const [, ...since] = reply as unknown[]
      const counts = since.every(
        (mark) => typeof mark === 'number' && kept.at > mark + SLACK_MILLISECONDS,
      )
      if (!counts || kept.until <= clock.now()) return undefined
      return { askedAt: kept.at, known: kept.known, roles: kept.roles }
    },

    async put(place, { askedAt, known, roles }, keepMilliseconds, signal) {
      const { tenant, source, user } = place
      const keep = Math.floor(keepMilliseconds)
      if (keep <= 0) return
      const kept: Kept = { at: askedAt, until: clock.now() + keep, known, roles }
      const sealed = seal(keys.answers, [tenant, source, user], kept, random)
      // Roles beyond this would make every look-up of the user slow for everybody; the source is asked instead.
      if (sealed.length > MOST_BYTES) return
      const named = [name('user', tenant, user), ...marks(place), name('gone', tenant, user)]
      const field = hiddenName(keys.names, 'source', source)
      await valkey.run(PUT, named, [field, sealed, askedAt, keep, SLACK_MILLISECONDS], signal)
    },

    async purge(what, signal) {
      const { tenant, source, user } = what
      const named =
        user !== undefined
          ? [name('gone', tenant, user), name('user', tenant, user)]
          : [source === undefined ? name('since', tenant) : name('since', tenant, source)]
      const told = seal(keys.purges, [PURGE_CHANNEL], { from: self, ...what }, random)
      const life = user === undefined ? '' : GONE_MILLISECONDS
      await valkey.run(PURGE, named, [PURGE_CHANNEL, Math.ceil(clock.now()), life, told], signal)
    },

    onPurge(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },

    hearing: {
      message(message) {
        if (message.length > MOST_MESSAGE_BYTES) return
        const told = unseal(keys.purges, [PURGE_CHANNEL], message)
        if (!isTold(told) || told.from === self) return
        const { tenant, source, user } = told
        tell({
          tenant,
          ...(source === undefined ? {} : { source }),
          ...(user === undefined ? {} : { user }),
        })
      },
      missed() {
        for (const tenant of deps.tenants()) tell({ tenant })
      },
    },
  }
}

/** What is inside a sealed answer: the answer, and the end of its life, which its place in the server cannot be trusted with. */
interface Kept {
  readonly at: number
  readonly until: number
  readonly known: boolean
  readonly roles: readonly string[]
}

/** Sealed by us, but perhaps by another version of us. */
function isKept(value: unknown): value is Kept {
  if (typeof value !== 'object' || value === null) return false
  const { at, until, known, roles }: Partial<Record<keyof Kept, unknown>> = value
  if (!Number.isSafeInteger(at) || !Number.isSafeInteger(until)) return false
  if (typeof known !== 'boolean' || !Array.isArray(roles)) return false
  return roles.every((role) => typeof role === 'string')
}

function isTold(value: unknown): value is Purge & { readonly from: string } {
  if (typeof value !== 'object' || value === null) return false
  const told: Partial<Record<'from' | keyof Purge, unknown>> = value
  return (
    typeof told.from === 'string' &&
    typeof told.tenant === 'string' &&
    (told.source === undefined || typeof told.source === 'string') &&
    (told.user === undefined || typeof told.user === 'string')
  )
}

/** The name in the configuration: everything before the first character that no name may hold. */
function sourceName(source: string): string {
  return /^[A-Za-z0-9._-]*/.exec(source)?.[0] ?? ''
}
