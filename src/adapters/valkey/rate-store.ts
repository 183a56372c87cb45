import { createHash, createHmac } from 'node:crypto'
import type { RateAnswer, RateStore } from '../../admission/rate-store.ts'
import type { Secret } from '../../lib/secret.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import type { LuaScript, Valkey } from './connection.ts'

/**
 * `lib/gcra.ts` line by line, on the server and by its clock, so that replicas need not agree on the time. Lua counts in doubles too, so the same
 * numbers come out; written out with `%.0f`, since `tostring` drops digits past the 14th. A bucket is gone when it is empty.
 */
const TEXT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local backlogs, waits, refused = {}, {}, false
for i, key in ipairs(KEYS) do
  local count, per, happened = tonumber(ARGV[i * 3 - 2]), tonumber(ARGV[i * 3 - 1]), ARGV[i * 3] == '1'
  local backlog = 0
  local at, was = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
  if at then backlog = math.max(0, was - math.max(0, now - at) * count) end
  local excess = backlog + per - count * per
  backlogs[i] = backlog
  waits[i] = excess > 0 and math.ceil(excess / count) or 0
  if waits[i] > 0 and not happened then refused = true end
end
local answers = {}
for i, key in ipairs(KEYS) do
  local count, per, happened = tonumber(ARGV[i * 3 - 2]), tonumber(ARGV[i * 3 - 1]), ARGV[i * 3] == '1'
  local backlog, wait = backlogs[i], waits[i]
  if not refused then
    if happened then
      backlog = math.max(backlog, math.min(backlog + per, 10 * count * per, 4503599627370496))
      local excess = backlog + per - count * per
      wait = excess > 0 and math.ceil(excess / count) or 0
    else
      backlog = backlog + per
    end
    local left = string.format('%.0f', math.ceil(backlog / count))
    redis.call('SET', key, string.format('%.0f %.0f', now, backlog), 'PX', left)
  end
  answers[i * 3 - 2] = wait
  answers[i * 3 - 1] = math.max(0, math.floor((count * per - backlog) / per))
  answers[i * 3] = math.ceil(backlog / count)
end
return answers
`

const SCRIPT: LuaScript = { text: TEXT, sha1: createHash('sha1').update(TEXT).digest('hex') }
const NAME_CHARACTERS = 22

/** What the store needs. */
export interface ValkeyRateStoreDeps {
  readonly valkey: Pick<Valkey, 'run'>
  /** Hides whom a bucket is about; the same on every replica. Without it names are only hashed, which a list of users undoes. */
  readonly nameKey: Secret<Buffer> | undefined
}

/**
 * Counts in Valkey, for all replicas: one script and one round trip, however many buckets.
 *
 * All keys carry the same hash tag, as a script in a cluster may only touch one slot; so it is one node of a cluster that counts. The rate is
 * part of the name: another rate counts in other units and begins with a full burst.
 */
export function createValkeyRateStore({ valkey, nameKey }: ValkeyRateStoreDeps): RateStore {
  const hidden = (key: string): string => {
    const hash = nameKey ? createHmac('sha256', nameKey.reveal()) : createHash('sha256')
    return hash.update(key).digest('base64url').slice(0, NAME_CHARACTERS)
  }
  return {
    async take(asks, signal) {
      const keys = asks.map(({ key, rate }) => {
        const kind = key.slice(0, key.indexOf('\0'))
        return `{rolemint}:rate:${kind}:${hidden(key)}:${rate.count}/${rate.perMilliseconds}`
      })
      const args = asks.flatMap(({ rate, happened }) => [
        rate.count,
        rate.perMilliseconds,
        happened ? 1 : 0,
      ])
      return answersOf(await valkey.run(SCRIPT, keys, args, signal), asks.length)
    },
  }
}

function answersOf(reply: unknown, length: number): RateAnswer[] {
  if (!Array.isArray(reply) || reply.length !== 3 * length || !reply.every(Number.isSafeInteger))
    throw new DependencyUnavailable('the cache answered something else than counts')
  const numbers = reply as readonly number[]
  return Array.from({ length }, (_, i) => ({
    waitMilliseconds: numbers[3 * i] ?? 0,
    remaining: numbers[3 * i + 1] ?? 0,
    resetMilliseconds: numbers[3 * i + 2] ?? 0,
  }))
}
