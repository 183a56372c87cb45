/**
 * `npm run prove -- N [--quick] [--json] [--only ID]`: runs the proofs behind the promises of work order N, one line
 * for each: `ok|FAIL  id  figure  what`. A full run writes its section of docs/proof.md. Ends with 1 if one fails.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { createContexts, type Proof, type Verdict } from './proof.ts'
import { type Proved, replaceSection } from './proof-page.ts'
import { ROOT } from './run-tests.ts'

const PAGE = `${ROOT}docs/proof.md`

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      only: { type: 'string' },
    },
  })
  const order = positionals[0] ?? ''
  const file = `${ROOT}test/prove/order-${order}.ts`
  if (!/^\d+$/.test(order) || !existsSync(file)) return usage(`There are no proofs for "${order}".`)
  const { proofs } = (await import(pathToFileURL(file).href)) as { proofs: readonly Proof[] }
  const chosen = proofs.filter(({ id }) => values.only === undefined || id === values.only)
  if (chosen.length === 0)
    return usage(
      `No proof is called "${values.only}". There are: ${proofs.map(({ id }) => id).join(', ')}`,
    )

  const proved = await prove(chosen, values.quick, values.json)
  const failed = proved.filter(({ ok }) => !ok).length
  if (values.json)
    console.log(JSON.stringify({ order: Number(order), quick: values.quick, proofs: proved }))
  else
    console.log(
      `\n${proved.length - failed} of ${proved.length} promises of order ${order} kept${values.quick ? ' as far as a quick run can tell: rows of the bench are samples' : ''}`,
    )
  if (!values.quick && values.only === undefined) writePage(order, proved)
  return failed > 0 ? 1 : 0
}

/** One after the other: proofs measure times and rates, and would disturb each other. */
async function prove(proofs: readonly Proof[], quick: boolean, silent: boolean): Promise<Proved[]> {
  const nextContext = createContexts(quick)
  const width = Math.max(...proofs.map(({ id }) => id.length))
  const proved: Proved[] = []
  for (const proof of proofs) {
    const { context, commands } = nextContext()
    const { ok, figure } = await verdictOf(() => proof.run(context))
    const { id, what } = proof
    proved.push({ ok, id, figure, what, commands })
    if (!silent) console.log(`${ok ? 'ok  ' : 'FAIL'}  ${id.padEnd(width)}  ${figure}  ${what}`)
  }
  return proved
}

/** A proof that throws has not been given; the others still are. */
async function verdictOf(run: () => Verdict | Promise<Verdict>): Promise<Verdict> {
  try {
    return await run()
  } catch (error) {
    return { ok: false, figure: error instanceof Error ? error.message : String(error) }
  }
}

function writePage(order: string, proved: readonly Proved[]): void {
  const page = existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : ''
  const commit = git('rev-parse', '--short', 'HEAD')
  const changed = git('status', '--porcelain', '--', ':!docs/proof.md') !== ''
  writeFileSync(
    PAGE,
    replaceSection(page, order, proved, {
      date: new Date().toISOString().slice(0, 10),
      commit: changed ? `${commit} with changes` : commit,
    }),
  )
}

function git(...args: string[]): string {
  return spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' }).stdout?.trim() ?? ''
}

function usage(problem: string): number {
  console.error(`${problem}\nUse: npm run prove -- ORDER [--quick] [--json] [--only ID]`)
  return 2
}

process.exitCode = await main(process.argv.slice(2))
