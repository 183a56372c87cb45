/**
 * The fingerprint of RSA keys made by the weak Infineon generator (ROCA, CVE-2017-15361), whose private half can be computed.
 *
 * Its primes are `k·M + (65537^a mod M)` with M a product of small primes, so modulo every such prime the modulus is a power of 65537.
 * Over all primes up to 167 that is true for all such keys and, by chance, for fewer than one sound key in 2^27.
 */
export function hasRocaFingerprint(modulus: bigint): boolean {
  return SMALL_PRIMES.every((prime) => powersOf65537(prime).has(Number(modulus % BigInt(prime))))
}

// With 2 these are the first 39 primes, whose product is M for the shortest keys and divides M for all longer ones.
const SMALL_PRIMES = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
  103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
] as const

function powersOf65537(prime: number): ReadonlySet<number> {
  const powers = new Set<number>()
  for (let power = 1; !powers.has(power); power = (power * 65_537) % prime) powers.add(power)
  return powers
}
