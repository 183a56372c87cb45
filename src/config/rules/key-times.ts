import { KEY_DEFAULTS } from '../../keys/options.ts'
import { milliseconds } from '../../lib/option.ts'
import { TOKEN_TTL_CAP_SECONDS } from '../../policy/options.ts'
import type { ConfigValues, TenantValues } from '../schema.ts'
import type { Path } from '../tree.ts'
import type { Report } from './report.ts'

const SECOND = 1000
const DAY = 24 * 60 * 60 * SECOND
/** How long it takes until every replica serves a new key: each reads the ring once a second. */
const PROPAGATION = 2 * SECOND
const LONGEST_ROTATION = 400 * DAY
const LONGEST_MAX_AGE = DAY
const LEAST_AHEAD_IN_PRODUCTION = DAY
/** A key that signs for less than this many token lives would not be gone before the third one after it comes. */
const LIVES_PER_ROTATION = 6

/** What {@link checkKeyTimes} looks at. */
interface Times {
  readonly keys: NonNullable<ConfigValues['keys']>
  readonly tenants: ReadonlyMap<string, TenantValues>
  readonly skewMilliseconds: number
  readonly isDev: boolean
}

/** A length that something needs at least, why, and the keys that ask for it. */
interface Need {
  readonly least: number
  readonly why: string
  readonly from: readonly Path[]
}

/**
 * Rules about the order of things in the life of a key: verifiers know it before it signs, and tokens die before it leaves. One
 * mistake is one error: of several unmet needs the greatest is named, since meeting it meets the others.
 */
export function checkKeyTimes(times: Times, report: Report): void {
  const { jwks, publishAhead, rotateEvery } = times.keys
  const maxAge = jwks?.maxAge ?? KEY_DEFAULTS.jwksMaxAge
  const maxAgeMilliseconds = milliseconds(maxAge)
  if (maxAgeMilliseconds < SECOND || maxAgeMilliseconds > LONGEST_MAX_AGE) {
    const message = `verifiers would keep our keys for ${maxAge}`
    report.error('config/bad-value', ['keys', 'jwks', 'maxAge'], message, 'write 1s to 24h')
    return
  }

  const ahead = publishAhead ?? KEY_DEFAULTS.publishAhead
  const aheadMilliseconds = milliseconds(ahead)
  // In dev exactly 0s is a way to try rotation without waiting: nothing listens beyond this machine.
  if (!(times.isDev && aheadMilliseconds === 0)) {
    const need = unmet(aheadNeeds(times, maxAgeMilliseconds), aheadMilliseconds)
    if (need) {
      const at = report.written([['keys', 'publishAhead'], ...need.from])
      const message = `a key would sign ${ahead} after it was published; ${need.why}`
      const mend = `write publishAhead: ${durationText(need.least)} or more`
      report.error('config/publish-ahead', at, message, mend)
      return
    }
  }

  const every = rotateEvery ?? KEY_DEFAULTS.rotateEvery
  const everyMilliseconds = milliseconds(every)
  const rotation = ['keys', 'rotateEvery']
  if (everyMilliseconds > LONGEST_ROTATION) {
    const message = `one key would sign for ${every}: far too many tokens for one theft`
    report.error('config/rotation', rotation, message, 'write 400d or less; 30d is usual')
    return
  }
  const need = unmet(rotationNeeds(times, aheadMilliseconds), everyMilliseconds)
  if (!need) return
  const message = `keys would change every ${every}; ${need.why}`
  const mend = `write rotateEvery: ${durationText(need.least)} or more`
  report.error('config/rotation', report.written([rotation, ...need.from]), message, mend)
}

function aheadNeeds(times: Times, maxAge: number): readonly Need[] {
  const { keys, tenants, skewMilliseconds, isDev } = times
  const stale = milliseconds(keys.jwks?.staleIfError ?? KEY_DEFAULTS.jwksStaleIfError)
  const needs: Need[] = [
    {
      // Twice: a proxy may hand out a copy of full age, which the verifier then keeps for as long again.
      least: 2 * maxAge + stale + skewMilliseconds + PROPAGATION,
      why: 'verifiers may go on with an older key set for 2 × jwks.maxAge + jwks.staleIfError + limits.skew + 2s',
      from: [
        ['keys', 'jwks', 'staleIfError'],
        ['keys', 'jwks', 'maxAge'],
        ['limits', 'skew'],
      ],
    },
  ]
  for (const [tenant, { consumers = {} }] of tenants) {
    for (const [consumer, { caches }] of Object.entries(consumers)) {
      if (caches === undefined) continue
      needs.push({
        least: milliseconds(caches),
        why: `consumer ${consumer} of tenant ${tenant} keeps its copy for ${caches}`,
        from: [['tenants', tenant, 'consumers', consumer, 'caches']],
      })
    }
  }
  if (!isDev)
    needs.push({
      least: LEAST_AHEAD_IN_PRODUCTION,
      // Spring Security, jose and others refetch on an unknown kid; what caches for a day, come what may, does not.
      why: 'some verifiers keep a key set for a day, whatever its max-age says',
      from: [],
    })
  return needs
}

function rotationNeeds({ tenants }: Times, ahead: number): readonly Need[] {
  const lives = [...tenants].map(([tenant, { tokens }]) => ({ tenant, ttl: tokens?.ttl ?? '12h' }))
  const [longest] = lives.toSorted((a, b) => milliseconds(b.ttl) - milliseconds(a.ttl))
  if (!longest) return []
  // A life over the cap has been complained of already.
  const life = Math.min(milliseconds(longest.ttl), TOKEN_TTL_CAP_SECONDS * SECOND)
  const ttl = `tokens of tenant ${longest.tenant} live for ${longest.ttl}`
  return [
    {
      least: LIVES_PER_ROTATION * life,
      why: `${ttl}, and a key signs for at least ${LIVES_PER_ROTATION} times that`,
      from: [['tenants', longest.tenant, 'tokens', 'ttl']],
    },
    {
      // Equal is refused too: the successor would be due the moment its predecessor's tokens are dead, with nothing to spare.
      least: ahead + life + SECOND,
      why: `a successor is published publishAhead before, and ${ttl}`,
      from: [['keys', 'publishAhead']],
    },
  ]
}

/** Of the needs that are not met the greatest. */
function unmet(needs: readonly Need[], given: number): Need | undefined {
  return needs
    .filter(({ least }) => given < least)
    .toSorted((a, b) => b.least - a.least)
    .at(0)
}

/** A duration as people write it in a configuration, rounded up to whole seconds. */
function durationText(length: number): string {
  const whole = Math.ceil(length / SECOND)
  const units = [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
  ] as const
  const unit = units.find(([, size]) => whole >= size && whole % size === 0)
  return unit ? `${whole / unit[1]}${unit[0]}` : `${whole}s`
}
