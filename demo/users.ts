/** A person of the demo world. */
export interface DemoUser {
  /** Login name, and `sub` in the tokens of the demo IdP. */
  readonly name: string
  /** User principal name; the demo entitlement API knows people by it. */
  readonly upn: string
  /** Roles as the demo source names them; undefined: the source has never heard of this person. */
  readonly sourceRoles: readonly string[] | undefined
}

/**
 * Everybody in the demo world. `ops-bot` is a workload for trying delegation (RFC 8693 §4.1); the others are people.
 *
 * Alice carries roles that rolemint has no translation for, and enough of them for three pages: so a first look at the
 * demo already shows pagination and `unmapped: drop`.
 */
export const DEMO_USERS: readonly DemoUser[] = [
  {
    name: 'alice',
    upn: 'alice@demo.example',
    sourceRoles: ['SAP_ORD_ADM', 'SAP_FI_DISPLAY', 'SAP_HR_SELF', 'SAP_TRAVEL', 'M365_E5'],
  },
  { name: 'bob', upn: 'bob@demo.example', sourceRoles: ['SAP_ORD_R', 'SAP_HR_SELF'] },
  { name: 'carol', upn: 'carol@demo.example', sourceRoles: undefined },
  { name: 'ops-bot', upn: 'ops-bot@demo.example', sourceRoles: ['SAP_ORD_W'] },
]
