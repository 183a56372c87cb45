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
    appendTimeout: Type.Optional(
      duration({
        description:
          'Longest wait for a ledger entry to be durable; past it the answer is 503 and no token exists.',
        reload: 'hot',
        default: '2s',
      }),
    ),
  },
  { description: 'The ledger.', default: {} },
)
