/** Text of a file of the keys room, and what stands there instead. */
export interface Plant {
  readonly file: string
  readonly from: string
  readonly to: string
}

/** A bug to be found. */
export interface Mutation {
  /** What the product then does wrong. */
  readonly name: string
  readonly plants: readonly Plant[]
}

/** A bug in each guard of the key ring. */
export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'a published key may sign at once',
    plants: [
      {
        file: 'ring.ts',
        from: 'publishedAt + policy.publishAheadMilliseconds + 2 * policy.skewMilliseconds',
        to: 'publishedAt',
      },
    ],
  },
  {
    name: 'clocks are taken for right when a key becomes active',
    plants: [
      {
        file: 'ring.ts',
        from: 'policy.publishAheadMilliseconds + 2 * policy.skewMilliseconds',
        to: 'policy.publishAheadMilliseconds',
      },
    ],
  },
  {
    name: 'a rotation by time does not ask how old the successor is',
    plants: [
      {
        file: 'ring.ts',
        from: 'if (activatableFrom(successor, policy) > now) return keys',
        to: '',
      },
    ],
  },
  {
    name: 'a rotation that is due never comes',
    plants: [
      {
        file: 'ring.ts',
        from: '!successor || dueFrom(active, policy) > now) return keys',
        to: '!successor || active.createdAt <= now) return keys',
      },
    ],
  },
  {
    name: 'an operator may promote a key that is too young',
    plants: [
      {
        file: 'ring.ts',
        from: "mustBe(key, ['published'], 'promoted')\n  mustBeOldEnough(key, policy, change.now)",
        to: "mustBe(key, ['published'], 'promoted')",
      },
    ],
  },
  {
    // Two guards stand in its way, and either is enough: its private half was taken out of the signer.
    name: 'a compromised key may be promoted, loaded or not',
    plants: [
      {
        file: 'ring.ts',
        from: "mustBe(key, ['published'], 'promoted')",
        to: "mustBe(key, ['published', 'compromised'], 'promoted')",
      },
      { file: 'tenant-ring.ts', from: "if (action === 'promote') mustBeLoaded(next)", to: '' },
    ],
  },
  {
    name: 'a key leaves JWKS by the time of the rotation instead of signUntil',
    plants: [
      {
        file: 'ring.ts',
        from: 'retirableFrom({ signUntil = 0 }: RingKey',
        to: 'retirableFrom({ verifyOnlyAt: signUntil = 0 }: RingKey',
      },
    ],
  },
  {
    name: 'clocks are taken for right when a key leaves JWKS',
    plants: [
      {
        file: 'ring.ts',
        from: 'policy.longestTokenMilliseconds + 3 * policy.skewMilliseconds',
        to: 'policy.longestTokenMilliseconds',
      },
    ],
  },
  {
    name: 'an operator may retire a key whose tokens are valid',
    plants: [
      {
        file: 'ring.ts',
        from: "if (key.state === 'verify-only' && from > change.now) {",
        to: 'if (from < 0) {',
      },
    ],
  },
  {
    name: 'an operator may retire the last successor',
    plants: [
      {
        file: 'ring.ts',
        from: "if (key.state === 'published' && publishedKeys(ring, key.alg).length < 2) {",
        to: 'if (ring.version < 0) {',
      },
    ],
  },
  {
    name: 'a kid may be used again',
    plants: [
      {
        file: 'ring.ts',
        from: 'if (known.some(({ kid }) => kid === key.kid))',
        to: 'if (known.length < 0)',
      },
    ],
  },
  {
    name: 'a key that is published becomes active beside the one that signs',
    plants: [
      {
        file: 'ring.ts',
        from: 'if (activeKey(ring, key.alg)) return next(',
        to: 'if (ring.version < 0) return next(',
      },
    ],
  },
  {
    name: 'the key that signed stays active in a rotation',
    plants: [
      {
        file: 'ring.ts',
        from: "key.state === 'active' ? stopped(key, change) : key",
        to: "key.state === 'staged' ? stopped(key, change) : key",
      },
    ],
  },
  {
    name: 'a killed key has no successor',
    plants: [
      {
        file: 'ring.ts',
        from: "if (key.state !== 'active' || !successor) return next(ring, keys)",
        to: 'if (keys.length > 0 || !successor) return next(ring, keys)',
      },
    ],
  },
  {
    name: 'a replica signs on after signUntil',
    plants: [
      {
        file: 'keys.ts',
        from: 'if (now < key.signUntil) return',
        to: 'if (now < Number.POSITIVE_INFINITY) return',
      },
    ],
  },
  {
    name: 'signUntil is looked at before a token is recorded, and not again when it is signed',
    plants: [
      {
        file: 'keys.ts',
        from: 'mustHaveTime(key, now)\n      const signature',
        to: 'const signature',
      },
    ],
  },
  {
    name: 'a lost compare-and-set counts as done',
    plants: [
      {
        file: 'tenant-ring.ts',
        from: 'if (!(await rings.compareAndSet(tenant, newest.version, next, signal))) continue',
        to: 'await rings.compareAndSet(tenant, newest.version, next, signal)',
      },
    ],
  },
  {
    name: 'a replica that hears of a kill keeps the key loaded',
    plants: [{ file: 'tenant-ring.ts', from: 'halves.dropKilled(tenant, ring)', to: '' }],
  },
  {
    name: 'a kill that is read on the way to a change is not obeyed',
    plants: [{ file: 'tenant-ring.ts', from: 'if (view) obey(newest)', to: '' }],
  },
  {
    name: 'keys of a replica that died stay staged',
    plants: [
      {
        file: 'tenant-ring.ts',
        from: 'createdAt + patience <= now',
        to: 'createdAt + 1e15 <= now',
      },
    ],
  },
  {
    name: 'what failed once is skipped',
    plants: [
      { file: 'tenant-ring.ts', from: 'now + pause * (0.5 + chance())', to: 'now + pause * 1e12' },
    ],
  },
  {
    name: 'a private half is kept before the ring names its key',
    plants: [
      {
        file: 'key-supply.ts',
        from: 'const keys = made.map(',
        to: 'await Promise.all(made.map((one) => one.keep(signal)))\n    const keys = made.map(',
      },
      {
        file: 'key-supply.ts',
        from: '      await Promise.all(made.map((one) => one.keep(signal)))\n      const faster',
        to: '      const faster',
      },
    ],
  },
  {
    name: 'private halves are never destroyed',
    plants: [
      {
        file: 'private-halves.ts',
        from: 'if (unused || !custody.signsByStore) await destroy',
        to: 'if (unused && custody.signsByStore) await destroy',
      },
    ],
  },
  {
    name: 'the private half of a published key is destroyed',
    plants: [
      {
        file: 'private-halves.ts',
        from: "if (state === 'staged' || state === 'published' || state === 'active') continue",
        to: "if (state === 'staged' || state === 'active') continue",
      },
    ],
  },
]
