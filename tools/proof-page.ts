/** A proof that was run. */
export interface Proved {
  readonly ok: boolean
  readonly id: string
  readonly figure: string
  readonly what: string
  readonly commands: readonly string[]
}

const HEAD = `# Proofs

What the work orders promised, measured. Each section is written by a full run of \`npm run prove -- N\`; the command
behind a figure repeats that one alone. Figures of time and rate belong to the machine they were measured on.
`

/** The page with the section of this order put in or replaced, sections in the order of their numbers. */
export function replaceSection(
  page: string,
  order: string,
  proved: readonly Proved[],
  made: { readonly date: string; readonly commit: string },
): string {
  const sections = new Map(
    page
      .split(/^(?=## Order )/m)
      .filter((part) => part.startsWith('## Order '))
      .map((part) => [/^## Order (\d+)/.exec(part)?.[1] ?? '', part.trim()]),
  )
  sections.set(order, section(order, proved, made))
  const sorted = [...sections].toSorted(([a], [b]) => Number(a) - Number(b))
  return `${[HEAD.trim(), ...sorted.map(([, text]) => text)].join('\n\n')}\n`
}

function section(
  order: string,
  proved: readonly Proved[],
  { date, commit }: { readonly date: string; readonly commit: string },
): string {
  const kept = proved.filter(({ ok }) => ok).length
  const rows = proved.map(({ ok, id, figure, what, commands }) => {
    const repeat = commands.length > 0 ? commands : [`npm run prove -- ${order} --only ${id}`]
    const cells = [ok ? 'ok' : '**FAIL**', id, what, figure].map(cell)
    return `| ${cells.join(' | ')} | ${repeat.map((one) => `\`${cell(one)}\``).join('<br>')} |`
  })
  return [
    `## Order ${order}`,
    '',
    `${kept} of ${proved.length} promises kept, ${date}, commit ${commit}.`,
    '',
    '| | proof | what | figure | command |',
    '|---|---|---|---|---|',
    ...rows,
  ].join('\n')
}

/** A table cell: a bar would end it, a new line the table. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll(/\s*\n\s*/g, ' ')
}
