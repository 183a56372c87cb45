/** Every row of the corpus, `standards.md` §2.8, 1 to 60: its cases, and why some have not all of them yet. */
import type { Attack } from './attack.ts'
import { CLAIM_ROWS } from './rows-claims.ts'
import { FORM_ROWS } from './rows-form.ts'
import { KEY_ROWS } from './rows-keys.ts'
import { REQUEST_ROWS, type RequestCase } from './rows-requests.ts'
import { SCENARIOS } from './scenarios.ts'
import { OWN_SCENARIOS } from './scenarios-own.ts'
import type { Scenario } from './story.ts'

export const ATTACKS: readonly Attack[] = [...FORM_ROWS, ...KEY_ROWS, ...CLAIM_ROWS]
export const REQUESTS: readonly RequestCase[] = REQUEST_ROWS
export const STORIES: readonly Scenario[] = [...SCENARIOS, ...OWN_SCENARIOS]

/** Of rows that have cases here: what they ask for besides, and why it is elsewhere or not there yet. All other rows are whole. */
export const DEFERRED: Readonly<Record<number, string>> = {
  10: 'Duplicate names at the admin bearer door: there is no JWT there before the login of operators by OIDC.',
  31: 'Stale keys while a source misbehaves: src/subject/public-keys.test.ts; each kind of document: test/contracts/json-documents.ts.',
  49: 'Two targets at once are accepted where the client may ask for both (RFC 8693 §2.1); test/conformance/oauth.test.ts, STD-9068-4.',
  52: 'The claim status comes with the status lists of a later order.',
  54: 'Proof with another key: no proof is accepted in this order (DPoP and mTLS come later), so any bound token is proof_required.',
  55: 'Disabled tenants and users need cut-offs, which order 2 brings; disabled IdPs and clients are here.',
}

/** The row numbers of this order. */
export const ROWS: readonly number[] = Array.from({ length: 60 }, (_, index) => index + 1)
