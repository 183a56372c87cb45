import type { ConsumersFacts, KeyFacts, RingFacts } from './keys-facts.ts'

type Rows = readonly (readonly string[])[]

/** Keys, one a row. */
export function ringRows({ keys }: RingFacts): Rows {
  return [
    ['KID', 'ALG', 'STATE', 'SINCE', 'NEXT', 'SIGNED', 'LAST SIGNED', 'REASON'],
    ...keys.map((key) => [
      key.kid,
      key.alg,
      key.state,
      minutes(since(key)),
      nextStep(key),
      key.signatures === undefined ? '' : String(key.signatures),
      minutes(key.last_signed_at),
      key.reason,
    ]),
  ]
}

/** Verifiers, one a row. Kids are shortened by `short`. */
export function consumerRows({ consumers }: ConsumersFacts, short: (kid: string) => string): Rows {
  return [
    ['CONSUMER', 'LAST FETCH', 'FETCHES', 'HAS', 'LACKS', 'KEEPS', 'MAY STILL ACCEPT'],
    ...consumers.map((one) => [
      one.consumer,
      one.last_fetch_at === undefined ? 'never' : minutes(one.last_fetch_at),
      String(one.fetches),
      one.kids.map(short).join(' '),
      one.lacks.map(short).join(' '),
      durationText(one.keeps_seconds),
      one.exposed.map(({ kid, until }) => `${short(kid)} until ${minutes(until)}`).join(', '),
    ]),
  ]
}

/** An ISO time to the minute, UTC: what a person compares. */
export function minutes(iso: string | undefined): string {
  return iso === undefined ? '' : `${iso.slice(0, 16)}Z`
}

/** Seconds as `12h`, `5m` or `90s`. */
function durationText(seconds: number): string {
  if (seconds > 0 && seconds % 86_400 === 0) return `${seconds / 86_400}d`
  if (seconds > 0 && seconds % 3600 === 0) return `${seconds / 3600}h`
  if (seconds > 0 && seconds % 60 === 0) return `${seconds / 60}m`
  return `${seconds}s`
}

/** When a key came into the state that it is in. */
function since(key: KeyFacts): string {
  const entered: Readonly<Record<string, string | undefined>> = {
    published: key.published_at,
    active: key.activated_at,
    'verify-only': key.verify_only_at,
    retired: key.retired_at,
    compromised: key.compromised_at,
  }
  return (Object.hasOwn(entered, key.state) ? entered[key.state] : undefined) ?? key.created_at
}

/** What comes next for a key, and when. */
function nextStep(key: KeyFacts): string {
  if (key.activatable_from !== undefined) {
    // Evidence, not proof: the wait is what makes it safe, this only tells of a verifier that is late.
    const behind = key.seen_by_all === false ? ', not yet fetched by all' : ''
    return `may sign ${minutes(key.activatable_from)}${behind}`
  }
  if (key.due_at !== undefined) return `gives way ${minutes(key.due_at)}`
  return key.retirable_from === undefined ? '' : `leaves JWKS ${minutes(key.retirable_from)}`
}
