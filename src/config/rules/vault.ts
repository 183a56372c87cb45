import type { VaultValues } from '../../keys/vault-options.ts'
import type { Path } from '../tree.ts'
import type { Report } from './report.ts'

/** Rules about one section that names a Vault: its address, its CA, and that we can log in. */
export function checkVault(
  { addr, ca, auth }: VaultValues,
  path: Path,
  readText: (path: string) => string | undefined,
  report: Report,
): void {
  if (addr.includes('?'))
    report.error(
      'config/bad-value',
      [...path, 'addr'],
      'an address of Vault has no query',
      'remove everything from the ? on',
    )
  if (ca !== undefined && !readText(ca)?.includes('-----BEGIN CERTIFICATE-----')) {
    const message = `file ${ca} cannot be read, or holds no certificate`
    const mend = 'name a PEM file with the CA certificates'
    report.error('config/missing-file', [...path, 'ca'], message, mend)
  }
  const at = [...path, 'auth']
  const { appRole } = auth
  if (appRole) checkAppRole(appRole, [...at, 'appRole'], report)
  const files = [
    { name: ['tokenFile'], file: auth.tokenFile },
    { name: ['jwt', 'tokenFile'], file: auth.jwt?.tokenFile },
    { name: ['kubernetes', 'tokenFile'], file: auth.kubernetes?.tokenFile },
    { name: ['appRole', 'secretIdFile'], file: appRole?.secretIdFile },
  ]
  for (const { name, file } of files) {
    // It is read again at every login; that it is there now is what can be known before anything starts.
    if (file === undefined || readText(file)?.trim()) continue
    const message = `file ${file} cannot be read, or is empty`
    const mend = 'create it, or mount its folder'
    report.error('config/missing-secret', [...at, ...name], message, mend)
  }
}

function checkAppRole(
  { secretId, secretIdFile }: NonNullable<VaultValues['auth']['appRole']>,
  path: Path,
  report: Report,
): void {
  if (secretId && secretIdFile !== undefined) {
    const message = 'the secret-id is given twice'
    report.error(
      'config/conflict',
      [...path, 'secretIdFile'],
      message,
      'keep secretId or secretIdFile',
    )
  }
  if (!secretId && secretIdFile === undefined) {
    const message = 'there is no secret-id'
    report.error(
      'config/missing-key',
      path,
      message,
      'add secretIdFile: /run/secrets/vault-secret-id',
    )
  }
}
