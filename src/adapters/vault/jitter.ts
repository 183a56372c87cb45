import type { Random } from '../../lib/id.ts'

const STEPS = 2 ** 32

/** A number from 0 up to, not including, `most`, so that those who failed together do not return together. */
export function jittered(most: number, random: Random): number {
  return (random.bytes(4).readUInt32BE() / STEPS) * most
}
