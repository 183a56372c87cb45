/** What a log may repeat of an error text of Vault's. Anything else could quote what was sent: a JWT, a secret-id, a key. */
const KNOWN = [
  'check-and-set parameter did not match',
  'permission denied',
  'invalid token',
  'missing client token',
  'invalid role or secret ID',
  'invalid secret id',
  'no handler for route',
  'unsupported path',
  'encryption key not found',
  'no existing key named',
  'deletion is not allowed for this key',
] as const

/** Something that Vault said about a refusal and that holds nothing of the request. */
export type VaultRemark = (typeof KNOWN)[number]

/**
 * Vault answered, and the answer was no. The message has the method, the path, the status and what is known to be harmless of
 * Vault's own words; the path names a tenant and a key, never a secret.
 */
export class VaultError extends Error {
  override readonly name = 'VaultError'
  /** HTTP status. */
  readonly status: number
  /** Those of Vault's words that we know. */
  readonly remarks: readonly VaultRemark[]

  constructor(method: string, path: string, status: number, errors: readonly string[]) {
    const remarks = KNOWN.filter((known) =>
      errors.some((error) => error.toLowerCase().includes(known.toLowerCase())),
    )
    const said = remarks.length > 0 ? `: ${remarks.join(', ')}` : ''
    super(`Vault refused ${method} ${path} (status ${status}${said}).`)
    this.status = status
    this.remarks = remarks
  }

  /** Whether Vault said so. */
  said(remark: VaultRemark): boolean {
    return this.remarks.includes(remark)
  }
}
