import Type, { type Static } from 'typebox'
import { duration, group, type OptionNotes, oneOf, secret, text, url } from '../lib/option.ts'
import type { Secret } from '../lib/secret.ts'

/** One step of a path in Vault. It never begins with a dot, so no path climbs out of where the operator put it. */
const STEP = '[A-Za-z0-9_-][A-Za-z0-9._-]*'

/** A path in Vault: a mount, or a place below one. */
const vaultPathOption = (about: OptionNotes) =>
  text({ ...about, pattern: `^${STEP}(/${STEP})*$`, maxLength: 256 })

/** A name in Vault: a key, or what its name begins with. */
const vaultNameOption = (about: OptionNotes) =>
  text({ ...about, pattern: `^${STEP}$`, maxLength: 64 })

/**
 * A path with a slash in it. Tokens, secret-ids and JWTs have none: one that lands here by mistake is refused, and not repeated,
 * before anything shows it as the name of a file.
 */
const secretFile = (about: OptionNotes) =>
  text({ ...about, pattern: '^[^\\r\\n]*[/\\\\][^\\r\\n]*$' })

const KUBERNETES_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token'

const role = text({ description: 'Role to log in with.', reload: 'restart' })

const mount = (method: string) =>
  Type.Optional(
    vaultPathOption({
      description: 'Where the auth method is mounted.',
      reload: 'restart',
      default: method,
    }),
  )

const authSchema = oneOf(
  {
    appRole: group(
      {
        roleId: text({ description: 'The role-id; no secret.', reload: 'restart' }),
        secretId: Type.Optional(
          secret({ description: 'The secret-id; this or `secretIdFile`.', reload: 'restart' }),
        ),
        secretIdFile: Type.Optional(
          secretFile({
            description:
              'File with the secret-id, read at every login, so that a new one needs no restart.',
            reload: 'restart',
          }),
        ),
        mount: mount('approle'),
      },
      { description: 'AppRole.' },
    ),
    jwt: group(
      {
        role,
        tokenFile: secretFile({
          description: 'File with the JWT, read at every login.',
          reload: 'restart',
        }),
        mount: mount('jwt'),
      },
      { description: 'A JWT of a workload identity.' },
    ),
    kubernetes: group(
      {
        role,
        tokenFile: Type.Optional(
          secretFile({
            description: 'File with the token of the service account, read at every login.',
            reload: 'restart',
            default: KUBERNETES_TOKEN,
          }),
        ),
        mount: mount('kubernetes'),
      },
      { description: 'The service account of a Kubernetes pod.' },
    ),
    token: secret({ description: 'A Vault token.', reload: 'restart' }),
    tokenFile: secretFile({
      description: 'File with a Vault token that an agent renews; read at every login.',
      reload: 'restart',
    }),
  },
  { description: 'How rolemint logs in.' },
)

/** What every section about Vault has: where it is and how we log in. */
const vaultProperties = {
  addr: url({
    description: 'Address of Vault or OpenBao: scheme, host and port.',
    reload: 'restart',
  }),
  namespace: Type.Optional(
    text({
      description: 'Namespace, sent as `X-Vault-Namespace`.',
      reload: 'restart',
      pattern: `^${STEP}(/${STEP})*/?$`,
      maxLength: 256,
    }),
  ),
  ca: Type.Optional(
    text({
      description:
        'File with the CA certificates (PEM) that vouch for it instead of the usual ones.',
      reload: 'restart',
    }),
  ),
  auth: authSchema,
}

/** `keys.store.vault`. */
export const vaultStoreSchema = group(
  {
    ...vaultProperties,
    mount: Type.Optional(
      vaultPathOption({
        description: 'Mount of the KV v2 engine.',
        reload: 'restart',
        default: 'rolemint',
      }),
    ),
    path: Type.Optional(
      vaultPathOption({
        description: 'Path below the mount; every key has a path of its own below it.',
        reload: 'restart',
        default: 'keys',
      }),
    ),
    wrapWith: Type.Optional(
      group(
        {
          mount: Type.Optional(
            vaultPathOption({
              description: 'Mount of the Transit engine.',
              reload: 'restart',
              default: 'transit',
            }),
          ),
          key: vaultNameOption({
            description: 'Transit key (`aes256-gcm96`) that wraps the data key of each kid.',
            reload: 'restart',
          }),
        },
        {
          description:
            'Seals what is kept in KV once more, so that reading KV alone gives nobody a key.',
        },
      ),
    ),
  },
  {
    description:
      'Private halves in the KV v2 engine of Vault or OpenBao, read once and then held in memory.',
  },
)

/** `keys.signer.vaultTransit`. */
export const vaultTransitSchema = group(
  {
    ...vaultProperties,
    mount: Type.Optional(
      vaultPathOption({
        description: 'Mount of the Transit engine.',
        reload: 'restart',
        default: 'transit',
      }),
    ),
    prefix: Type.Optional(
      vaultNameOption({
        description: 'What the names of our Transit keys begin with.',
        reload: 'restart',
        default: 'rolemint',
      }),
    ),
    timeout: Type.Optional(
      duration({
        description: 'How long one signature may take, 50 ms to 5 s.',
        reload: 'restart',
        default: '1s',
      }),
    ),
  },
  {
    description:
      'The Transit engine of Vault or OpenBao makes the keys and signs; no private half ever leaves it.',
  },
)

const vaultSchema = group(vaultProperties, { description: 'Vault or OpenBao.' })

/** How to log in. Files are read anew at every login. */
export type VaultAuthOptions =
  | {
      readonly kind: 'token'
      readonly token: Secret | undefined
      readonly tokenFile: string | undefined
    }
  | {
      readonly kind: 'appRole'
      readonly mount: string
      readonly roleId: string
      readonly secretId: Secret | undefined
      readonly secretIdFile: string | undefined
    }
  | {
      readonly kind: 'jwt'
      readonly mount: string
      readonly role: string
      readonly tokenFile: string
    }

/** Where Vault or OpenBao is and how to log in. */
export interface VaultOptions {
  /** Scheme, host, port, and a path where a proxy wants one; no slash at the end. */
  readonly addr: string
  readonly namespace: string | undefined
  /** PEM. */
  readonly caFile: string | undefined
  readonly auth: VaultAuthOptions
}

/** Values of {@link vaultProperties} as the schema accepts them. */
export type VaultValues = Static<typeof vaultSchema>

/** Turns checked values into {@link VaultOptions}. `pathFrom` resolves the path of a file. */
export function toVaultOptions(
  { addr, namespace, ca, auth }: VaultValues,
  pathFrom: (path: string) => string,
): VaultOptions {
  return {
    addr: addr.replace(/\/+$/, ''),
    namespace,
    caFile: ca === undefined ? undefined : pathFrom(ca),
    auth: toAuth(auth, pathFrom),
  }
}

function toAuth(
  { appRole, jwt, kubernetes, token, tokenFile }: VaultValues['auth'],
  pathFrom: (path: string) => string,
): VaultAuthOptions {
  const found = (file: string | undefined) => (file === undefined ? undefined : pathFrom(file))
  if (appRole) {
    const { mount: at = 'approle', roleId, secretId, secretIdFile } = appRole
    return { kind: 'appRole', mount: at, roleId, secretId, secretIdFile: found(secretIdFile) }
  }
  if (jwt) {
    const file = pathFrom(jwt.tokenFile)
    return { kind: 'jwt', mount: jwt.mount ?? 'jwt', role: jwt.role, tokenFile: file }
  }
  if (kubernetes) {
    const file = pathFrom(kubernetes.tokenFile ?? KUBERNETES_TOKEN)
    const at = kubernetes.mount ?? 'kubernetes'
    return { kind: 'jwt', mount: at, role: kubernetes.role, tokenFile: file }
  }
  return { kind: 'token', token, tokenFile: found(tokenFile) }
}
