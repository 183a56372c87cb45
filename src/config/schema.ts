import Type, { type Static } from 'typebox'
import { rateLimitsSchema, tenantLimitsSchema } from '../admission/options.ts'
import { auditSchema } from '../audit/options.ts'
import { clientSchema } from '../client/options.ts'
import { sourceSchema } from '../entitlement/options.ts'
import { adminsSchema, corsSchema, listenSchema } from '../http/options.ts'
import { keysSchema } from '../keys/options.ts'
import { choice, group, named, text, texts, url } from '../lib/option.ts'
import { rolesSchema, tokensSchema } from '../policy/options.ts'
import { idpSchema, tokenLimitsSchema } from '../subject/options.ts'
import { consumersSchema } from '../tenant/options.ts'
import { cacheSchema, idpKeysSchema, outboundSchema, storeSchema } from './options.ts'
import type { Shape } from './shape.ts'

/** Client ids are often URLs; printable ASCII without space, quote and backslash, so that they fit a header and an error text. */
const CLIENT_ID_PATTERN = '^[!#-\\[\\]-~]{1,256}$'

const tenantSchema = group(
  {
    issuer: url({
      description:
        'Our `iss` for this tenant and the base of its endpoints (RFC 8414 §2): no trailing slash, no query.',
      reload: 'hot',
    }),
    idps: named(idpSchema, { description: 'Identity providers whose tokens may be exchanged.' }),
    sources: Type.Optional(
      named(sourceSchema, {
        description: 'Entitlement sources; the roles of several are merged by union.',
      }),
    ),
    roles: Type.Optional(rolesSchema),
    clients: named(clientSchema, {
      description: 'Clients by `client_id`.',
      pattern: CLIENT_ID_PATTERN,
    }),
    tokens: Type.Optional(tokensSchema),
    cors: Type.Optional(corsSchema),
    limits: Type.Optional(
      group(tenantLimitsSchema, {
        description: 'Rate limits of this tenant, in the place of those for everybody.',
      }),
    ),
    consumers: Type.Optional(consumersSchema),
  },
  { description: 'One tenant.' },
)

/** The whole configuration, put together from the `options.ts` of every room. */
export const configSchema = group(
  {
    version: Type.Literal(1, {
      description: 'Version of this format.',
      'x-reload': 'restart',
    }),
    profile: Type.Optional(
      choice(
        {
          description:
            '`dev` allows plain http to loopback addresses, and refuses to listen anywhere else than on loopback.',
          reload: 'restart',
          default: 'production',
        },
        ['production', 'dev'],
      ),
    ),
    include: Type.Optional(
      Type.Union(
        [
          text({ description: 'One file or pattern.', reload: 'hot' }),
          texts({ description: 'Several files or patterns.', reload: 'hot' }),
        ],
        {
          description:
            'More files with tenants, e.g. `tenants/*.yaml`; their only top-level key is `tenants`. `*` stands for any part of a file name.',
          'x-reload': 'hot',
          default: [],
        },
      ),
    ),
    listen: Type.Optional(listenSchema),
    store: Type.Optional(storeSchema),
    cache: Type.Optional(cacheSchema),
    outbound: Type.Optional(outboundSchema),
    idpKeys: Type.Optional(idpKeysSchema),
    keys: Type.Optional(keysSchema),
    audit: Type.Optional(auditSchema),
    limits: Type.Optional(
      group(
        { ...tokenLimitsSchema, ...rateLimitsSchema },
        { description: 'Bounds on what comes in.', default: {} },
      ),
    ),
    tenants: named(tenantSchema, { description: 'Tenants by name; at least one.' }),
    admins: Type.Optional(adminsSchema),
  },
  { description: 'Configuration of rolemint.' },
)

/** The same schema for those who walk it; secrets are texts there, which their TypeBox type hides. */
export const configShape: Shape = asShape(configSchema)

function asShape(schema: object): Shape {
  return schema
}

/** A configuration file whose shape was checked: secrets are in place, left-out keys have their default. */
export type ConfigValues = Static<typeof configSchema>

/** One tenant of {@link ConfigValues}. */
export type TenantValues = ConfigValues['tenants'][string]
