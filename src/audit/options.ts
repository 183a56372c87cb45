import Type from 'typebox'
import { duration, group } from '../lib/option.ts'

/** The `audit` section. */
export const auditSchema = group(
  {
    retain: Type.Optional(
      duration({
        description: 'How long ledger entries are kept; entries are not removed yet.',
        reload: 'hot',
        default: '400d',
      }),
    ),
  },
  { description: 'The ledger.', default: {} },
)
