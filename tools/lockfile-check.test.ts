import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { checkLockfile } from './lockfile-check.ts'

suite('the lockfile check', () => {
  const manifest = { dependencies: { a: '1.2.3' } }
  const packages = { '': {}, 'node_modules/a': { version: '1.2.3' } }

  test('a pinned package without scripts passes, and development packages may have scripts', () => {
    const dev = { version: '2.0.0', dev: true, hasInstallScript: true }
    const lock = { packages: { ...packages, 'node_modules/b': dev } }
    assert.deepEqual(checkLockfile(manifest, lock), { complaints: [], production: 1 })
  })

  test('a production package with an install script is refused', () => {
    const lock = { packages: { ...packages, 'node_modules/b': { hasInstallScript: true } } }
    assert.match(checkLockfile(manifest, lock).complaints.join(), /node_modules\/b runs a script/)
  })

  test('one package too many is refused', () => {
    const many = Object.fromEntries(
      Array.from({ length: 165 }, (_, at) => [`node_modules/b${at}`, {}]),
    )
    const found = checkLockfile(manifest, { packages: { ...packages, ...many } }).complaints
    assert.match(found.join(), /166 production packages/)
  })

  test('a range instead of a version is refused, in every kind of dependency', () => {
    for (const range of ['^1.2.3', '~1.2.3', '1', '1.2', '*', 'latest', '>=1.0.0', '1.x']) {
      const found = checkLockfile({ devDependencies: { a: range } }, { packages }).complaints
      assert.match(found.join(), /pin one version/, range)
    }
  })

  test('a lockfile that disagrees with package.json is refused', () => {
    const found = checkLockfile({ dependencies: { a: '1.2.4' } }, { packages }).complaints
    assert.match(found.join(), /1\.2\.4 in package\.json but 1\.2\.3/)
  })

  test('a download address is refused', () => {
    const lock = {
      packages: { ...packages, 'node_modules/b': { resolved: 'https://mirror.test/b.tgz' } },
    }
    assert.match(checkLockfile(manifest, lock).complaints.join(), /download address/)
  })

  test('an empty lockfile proves nothing and is refused', () => {
    assert.match(checkLockfile({}, { packages: {} }).complaints.join(), /nothing was checked/)
  })
})
