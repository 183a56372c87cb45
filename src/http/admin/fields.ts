import Type from 'typebox'

/** Fields that several admin routes take. */
export const TENANT = Type.String({ minLength: 1, maxLength: 63, description: 'Name of a tenant.' })

/** Why a change is made; goes into the ledger, so it is asked for always. */
export const REASON = Type.String({
  minLength: 3,
  maxLength: 500,
  description: 'Why; recorded in the ledger.',
})
