import Type, { type Static } from 'typebox'
import {
  address,
  choice,
  count,
  duration,
  group,
  milliseconds,
  named,
  text,
  texts,
  url,
} from '../lib/option.ts'

const tlsSchema = group(
  {
    cert: text({ description: 'File with the certificate chain (PEM).', reload: 'restart' }),
    key: text({ description: 'File with the private key (PEM).', reload: 'restart' }),
    clientCa: Type.Optional(
      text({
        description: 'File with the CA of client certificates; not available yet.',
        reload: 'restart',
      }),
    ),
  },
  { description: 'TLS of this listener.' },
)

const limitsSchema = group(
  {
    headers: Type.Optional(
      duration({
        description:
          'From the first byte of a request, or the opening of the connection, to the end of the headers.',
        reload: 'restart',
        default: '5s',
      }),
    ),
    request: Type.Optional(
      duration({
        description:
          'From the first byte of a request to the end of its body, which is 64 KiB at most.',
        reload: 'restart',
        default: '10s',
      }),
    ),
    keepAlive: Type.Optional(
      duration({
        description:
          'Between two requests on one connection. Longer than the same of a load balancer in front.',
        reload: 'restart',
        default: '72s',
      }),
    ),
    connections: Type.Optional(
      count({
        description:
          'Connections at the same time. Beyond it the slowest, then the longest idle one is closed for a new one.',
        reload: 'restart',
        minimum: 1,
        maximum: 1_000_000,
        default: 10_000,
      }),
    ),
    connectionsPerAddress: Type.Optional(
      count({
        description: 'The same for one peer address (IPv6: one /64). Trusted proxies are exempt.',
        reload: 'restart',
        minimum: 1,
        maximum: 1_000_000,
        default: 512,
      }),
    ),
  },
  { description: 'Bounds on connections; slow ones are closed.', default: {} },
)

const listenerSchema = Type.Union(
  [
    address({ description: 'Address and port.', reload: 'restart' }),
    group(
      {
        address: address({ description: 'Address and port.', reload: 'restart' }),
        tls: Type.Optional(tlsSchema),
        trustedProxies: Type.Optional(
          texts({
            description: 'Networks whose `X-Forwarded-*` headers are believed.',
            reload: 'restart',
            default: [],
          }),
        ),
        limits: Type.Optional(limitsSchema),
      },
      { description: 'A listener with TLS, behind proxies or with bounds of its own.' },
    ),
  ],
  { 'x-reload': 'restart' },
)

/** The `listen` section. */
export const listenSchema = group(
  {
    public: Type.Optional(
      Type.Union(listenerSchema.anyOf, {
        description: 'Where clients and verifiers connect.',
        'x-reload': 'restart',
        default: '127.0.0.1:8080',
      }),
    ),
    admin: Type.Optional(
      Type.Union(listenerSchema.anyOf, {
        description: 'Where operators connect; never the public port, never without a credential.',
        'x-reload': 'restart',
        default: '127.0.0.1:9090',
      }),
    ),
    probes: Type.Optional(
      address({
        description: 'Where `/livez`, `/readyz` and `/metrics` are; the admin port when left out.',
        reload: 'restart',
      }),
    ),
  },
  { description: 'Listeners.', default: {} },
)

/** Bounds on the connections of a listener; times in milliseconds. */
export interface ListenerBounds {
  /** From the first byte of a request, or the opening of the connection, to the end of the headers. TLS is given as long to be agreed on. */
  readonly headersMilliseconds: number
  /** From the first byte of a request to the end of its body: with bodies of 64 KiB at most, a least rate too. */
  readonly requestMilliseconds: number
  /** Between two requests on one connection. */
  readonly keepAliveMilliseconds: number
  /** Connections at the same time. */
  readonly connections: number
  /** Connections at the same time from one peer address, unless it is a trusted proxy. */
  readonly connectionsPerAddress: number
}

/** A listener as it is opened. */
export interface ListenerOptions {
  readonly host: string
  readonly port: number
  /** Files of certificate chain and key; undefined means plain HTTP. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined
  readonly trustedProxies: readonly string[]
  /** Where they differ from the defaults. */
  readonly bounds: Partial<ListenerBounds>
  /** Listening sockets to open on the port, each of which accepts one connection per turn of the event loop; 1 when left out. */
  readonly handles?: number
}

/** Enough for a fleet that dials anew; see `listen.ts`. */
const PUBLIC_HANDLES = 8

/** The listeners; `probes` is undefined when probes share the admin port. */
export interface ListenOptions {
  readonly public: ListenerOptions
  readonly admin: ListenerOptions
  readonly probes: ListenerOptions | undefined
}

/** Turns the checked `listen` section into {@link ListenOptions}. */
export function toListenOptions(config: Static<typeof listenSchema> | undefined): ListenOptions {
  return {
    public: { ...toListener(config?.public ?? '127.0.0.1:8080'), handles: PUBLIC_HANDLES },
    admin: toListener(config?.admin ?? '127.0.0.1:9090'),
    probes: config?.probes === undefined ? undefined : toListener(config.probes),
  }
}

function toListener(config: Static<typeof listenerSchema>): ListenerOptions {
  const given = typeof config === 'string' ? config : config.address
  const colon = given.lastIndexOf(':')
  const { tls, trustedProxies, limits }: Partial<Exclude<typeof config, string>> =
    typeof config === 'string' ? {} : config
  return {
    host: given.slice(0, colon).replace(/^\[|\]$/g, ''),
    port: Number(given.slice(colon + 1)),
    tls: tls && { cert: tls.cert, key: tls.key },
    trustedProxies: trustedProxies ?? [],
    bounds: toBounds(limits ?? {}),
  }
}

function toBounds(limits: Static<typeof limitsSchema>): Partial<ListenerBounds> {
  const { headers, request, keepAlive, connections, connectionsPerAddress } = limits
  return {
    ...(headers === undefined ? {} : { headersMilliseconds: milliseconds(headers) }),
    ...(request === undefined ? {} : { requestMilliseconds: milliseconds(request) }),
    ...(keepAlive === undefined ? {} : { keepAliveMilliseconds: milliseconds(keepAlive) }),
    ...(connections === undefined ? {} : { connections }),
    ...(connectionsPerAddress === undefined ? {} : { connectionsPerAddress }),
  }
}

/** CORS of a tenant, under `tenants.<tenant>.cors`. */
export const corsSchema = group(
  {
    origins: Type.Optional(
      texts({
        description:
          'Origins whose pages may read our answers (Fetch standard, CORS protocol). Empty: none.',
        reload: 'hot',
        default: [],
      }),
    ),
  },
  { description: 'Cross-origin access from browsers; off by default.', default: {} },
)

/** Roles of people who operate rolemint, from least to most. */
export const ADMIN_ROLES = ['viewer', 'auditor', 'operator', 'security', 'admin'] as const

/** What an operator may do. */
export type AdminRole = (typeof ADMIN_ROLES)[number]

/** The `admins` section. */
export const adminsSchema = group(
  {
    oidc: Type.Optional(
      group(
        {
          issuer: url({ description: 'Issuer of the bearer tokens of operators.', reload: 'hot' }),
          audience: text({ description: 'Our name at that issuer.', reload: 'hot' }),
          roles: named(
            choice({ description: 'The role of members of this group.', reload: 'hot' }, [
              ...ADMIN_ROLES,
            ]),
            {
              description: 'Groups of the issuer and the role each gives.',
              pattern: '^\\S{1,256}$',
            },
          ),
        },
        { description: 'Login of operators by OIDC; not available yet.' },
      ),
    ),
  },
  {
    description:
      'Who operates rolemint. The break-glass token (`rolemint admin token`) always works.',
    default: {},
  },
)
