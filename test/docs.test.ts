/** Keeps the documents true: what they name exists, and what must be named in them is. */
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isErrorCode } from '../src/http/error-catalogue.ts'
import { VERSION } from '../src/lib/version.ts'
import { createMetrics, METRIC_NAMES } from '../src/observe/metrics.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const pages = (): string[] =>
  globSync(['*.md', 'docs/**/*.md'], { cwd: root }).toSorted((a, b) => a.localeCompare(b))

const withoutFences = (text: string): string => text.replace(/^```[^]*?^```$/gm, '')
const found = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map(([, word = '']) => word)

/** The rows of a Markdown table, as cells, that follows a heading row which begins with `first`. */
function tableOf(text: string, first: string): string[][] {
  const rows = text.slice(text.indexOf(`| ${first} |`)).split('\n')
  const end = rows.findIndex((row) => !row.startsWith('|'))
  return rows.slice(2, end === -1 ? rows.length : end).map((row) =>
    row
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  )
}

suite('what documents name exists', () => {
  test('there are documents to look at', () => {
    assert.ok(pages().length >= 10, pages().join(' '))
    assert.ok(pages().includes('README.md'))
  })

  const inRepository =
    /`((?:src|test|docs|demo|tools|bench|deploy|packages|console|\.ci)\/[\w./*-]+)`/g

  test('every path of the repository in backticks', () => {
    let seen = 0
    for (const page of pages()) {
      for (const path of found(withoutFences(read(page)), inRepository)) {
        seen += 1
        assert.ok(globSync(path, { cwd: root }).length > 0, `${page} names ${path}`)
      }
    }
    assert.ok(seen > 20, `only ${seen} paths were found: the pattern has gone blind`)
  })

  test('every relative link, with its heading', () => {
    let seen = 0
    for (const page of pages()) {
      for (const link of found(withoutFences(read(page)), /\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(link)) continue
        seen += 1
        const [path = '', anchor] = link.split('#')
        const target = path === '' ? page : join(dirname(page), path)
        assert.ok(existsSync(join(root, target)), `${page} links to ${link}`)
        if (anchor !== undefined)
          assert.ok(anchorsOf(read(target)).includes(anchor), `${page} links to ${link}`)
      }
    }
    assert.ok(seen > 10, `only ${seen} links were found: the pattern has gone blind`)
  })

  test('every npm script in a document', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const named = pages().flatMap((page) =>
      found(read(page), /\bnpm (?:run )?(start|test|(?<=run )[\w:-]+)\b/g),
    )
    assert.ok(named.includes('start') && named.includes('prove'))
    for (const script of named) assert.ok(Object.hasOwn(scripts, script), script)
  })

  test('every command of rolemint in a document', () => {
    let seen = 0
    for (const page of pages().filter((each) => !each.startsWith('docs/decisions'))) {
      const commands = found(read(page), /(?:npx |`)rolemint ([a-z]+(?: [a-z]+)?)/g)
      for (const [verb = '', below] of commands.map((command) => command.split(' '))) {
        seen += 1
        const file = join(root, `src/cli/${verb}.ts`)
        assert.ok(existsSync(file), `${page} names rolemint ${verb}`)
        const verbs = found(readFileSync(file, 'utf8'), /\.command\('([a-z]+)/g)
        if (below !== undefined && verbs.length > 0)
          assert.ok(verbs.includes(below), `${page} names rolemint ${verb} ${below}`)
      }
    }
    assert.ok(seen > 5, `only ${seen} commands were found: the pattern has gone blind`)
  })
})

suite('docs/exchange.md tells what src/exchange/exchange.ts does', () => {
  const page = read('docs/exchange.md')
  const conductor = read('src/exchange/exchange.ts')
  const steps = found(conductor, /^\s*\/\/ (\d+) /gm)
  const table = tableOf(page, 'step')

  test('the steps of the conductor are numbered from one on, without a gap', () => {
    assert.ok(steps.length >= 8)
    assert.deepEqual(
      steps,
      steps.map((_, index) => String(index + 1)),
    )
  })

  test('the table has the same numbers in the same order, and so has the drawing', () => {
    const numbered = table.flatMap(([step = '']) => /^(\d+) /.exec(step)?.[1] ?? [])
    assert.deepEqual(numbered, steps)
    const drawing = /```mermaid\n([^]*?)```/.exec(page)?.[1] ?? ''
    assert.deepEqual(found(drawing, /\((\d+)\)/g), steps)
  })

  test('the files it names are in src', () => {
    const named = [...table, ...tableOf(page, 'cache')].flatMap((cells) =>
      found(cells.slice(0, 2).join(' '), /`([a-z-]+\/[a-z/-]+)`/g),
    )
    assert.ok(named.length > 10)
    for (const path of named)
      assert.ok(
        ['', '.ts'].some((ending) => existsSync(join(root, `src/${path}${ending}`))),
        path,
      )
  })

  test('the codes it names are codes', () => {
    const codes = table.flatMap((cells) => found(cells.at(-1) ?? '', /`(\w+)`/g))
    assert.ok(codes.length > 10)
    for (const code of codes) assert.ok(isErrorCode(code), code)
  })

  test('its table of caches has every file that keeps answers', () => {
    const caching = globSync('src/**/*.ts', { cwd: root })
      .filter((path) => !path.endsWith('.test.ts'))
      .filter((path) => /\bnew (LRUCache|WeakMap)\b/.test(read(path)))
      .map((path) => path.replace(/^src\/|\.ts$/g, ''))
    assert.ok(caching.includes('subject/verified-cache') && caching.length > 4)
    const text = tableOf(page, 'cache')
      .map(([name]) => name)
      .join(' ')
    for (const path of caching)
      assert.ok(text.includes(`\`${path}\``), `docs/exchange.md needs a row about ${path}`)
  })
})

suite('docs/metrics.md', () => {
  const table = tableOf(read('docs/metrics.md'), 'metric')

  test('has every metric with its type and labels, and no other', async () => {
    const metrics = createMetrics({ defaults: false })
    metrics.httpRequest('public', '/token', 200, 0.1)
    metrics.exchange('acme', 'issued')
    metrics.introspection('acme', true)
    metrics.ledgerAppend(0.1)
    metrics.keyTransition('acme', 'ES256', 'active')
    metrics.keyStoreUp(true)
    metrics.keyRing('acme', 'ES256', { successors: 1, signsForSeconds: 1, overdueSeconds: 0 })
    metrics.cutoffAge(0.1)
    metrics.entitlements('acme', 'hr', 'fresh')
    const of = { kind: 'source', tenant: 'acme', upstream: 'source acme/hr' }
    metrics.upstreamCall(of, 'ok', 0.1)
    metrics.upstreamRetry(of)
    metrics.upstreamState(of, 0)
    metrics.rateLimited('client')
    metrics.rateFallback()
    metrics.watchLoad(() => ({ limit: 1, inFlight: 0, queued: 0, shed: { exchange: 0 } }))
    metrics.watchCaches(() => [{ cache: 'entitlements', entries: 0, bytes: 0 }])
    metrics.watchClock(() => ({ isSure: true, wallAheadSeconds: 0, steps: 0 }))
    const text = await metrics.text()
    const real = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = '', type]) => {
      const sample = new RegExp(`^${name}(?:_count)?(?:\\{(.*)\\})? `, 'm').exec(text)
      return [name, type, found(sample?.[1] ?? '', /(\w+)="/g).join(' ')]
    })
    const documented = table.map(([name = '', type, labels = '']) => [
      name.replaceAll('`', ''),
      type,
      labels.replaceAll('`', ''),
    ])
    assert.deepEqual(sorted(documented), sorted(real))
    assert.deepEqual(
      real.map(([name]) => String(name)).toSorted(),
      Object.values(METRIC_NAMES).toSorted(),
    )
  })
})

test('the version is the same wherever it is written', () => {
  const manifest = JSON.parse(read('package.json')) as { version: string }
  const lock = JSON.parse(read('package-lock.json')) as { version: string }
  assert.deepEqual([VERSION, lock.version], [manifest.version, manifest.version])
  for (const path of globSync('{src,demo}/**/*.ts', { cwd: root })) {
    if (path.endsWith('.test.ts') || path === 'src/lib/version.ts') continue
    assert.ok(!read(path).includes(VERSION), `${path} writes the version out`)
  }
})

/** Anchors as GitHub makes them of headings. */
function anchorsOf(text: string): string[] {
  return found(withoutFences(text), /^#+ (.+)$/gm).map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

function sorted(rows: readonly (readonly (string | undefined)[])[]): string[] {
  return rows.map((row) => row.join(' | ')).toSorted()
}
