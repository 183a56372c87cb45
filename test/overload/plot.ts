/** Curves as SVG: two panels one above the other, with a common horizontal axis. */

/** One line of a panel. */
export interface Curve {
  readonly label: string
  readonly colour: string
  readonly marker: 'circle' | 'square'
  readonly points: readonly Point[]
}

/** x and y in the units of the axes. */
export interface Point {
  readonly x: number
  readonly y: number
}

/** A vertical axis and what is drawn against it. */
export interface Panel {
  readonly label: string
  readonly scale: 'linear' | 'log'
  readonly from: number
  readonly to: number
  readonly ticks: readonly number[]
  readonly unit: string
  readonly curves: readonly Curve[]
  /** Drawn dashed, with what it means. */
  readonly promises: readonly (Point & { readonly toX: number; readonly label: string })[]
}

/** A whole figure. */
export interface Plot {
  readonly title: string
  readonly subtitle: string
  readonly x: {
    readonly label: string
    readonly to: number
    readonly ticks: readonly number[]
    readonly unit: string
  }
  readonly panels: readonly Panel[]
}

const WIDTH = 760
const PANEL_HEIGHT = 250
const LEFT = 100
const RIGHT = 24
const TOP = 96
const GAP = 62
const INNER = WIDTH - LEFT - RIGHT
const INK = '#1f2328'
const FAINT = '#d5d9de'
const PROMISE = '#6b7280'

/** A place on an axis as a share of its length, 0 to 1; what lies outside is put on the edge. */
export function shareOf(
  value: number,
  { scale, from, to }: Pick<Panel, 'scale' | 'from' | 'to'>,
): number {
  const share =
    scale === 'log' ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from)
  return Math.min(1, Math.max(0, share))
}

/** The figure as an SVG document with a white background of its own, so that it can be read on a dark page too. */
export function svgOf(plot: Plot): string {
  const height = TOP + plot.panels.length * (PANEL_HEIGHT + GAP)
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(plot.title)}" font-family="system-ui, -apple-system, 'Segoe UI', sans-serif" font-size="13" fill="${INK}">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text(LEFT, 30, plot.title, 'font-size="17" font-weight="600"'),
    text(LEFT, 50, plot.subtitle, `font-size="12" fill="${PROMISE}"`),
    ...legend(plot.panels[0]?.curves ?? []),
    ...plot.panels.flatMap((panel, index) =>
      panelOf(plot, panel, TOP + index * (PANEL_HEIGHT + GAP)),
    ),
    '</svg>',
  ].join('\n')}\n`
}

function panelOf({ x }: Plot, panel: Panel, top: number): string[] {
  const bottom = top + PANEL_HEIGHT
  const atX = (value: number) =>
    LEFT + INNER * shareOf(value, { scale: 'linear', from: 0, to: x.to })
  const atY = (value: number) => bottom - PANEL_HEIGHT * shareOf(value, panel)
  return [
    ...panel.ticks.flatMap((tick) => [
      line(LEFT, atY(tick), LEFT + INNER, atY(tick), FAINT),
      text(LEFT - 10, atY(tick) + 4, `${tick}${panel.unit}`, 'text-anchor="end"'),
    ]),
    ...x.ticks.flatMap((tick) => [
      line(atX(tick), bottom, atX(tick), bottom + 5, INK),
      text(atX(tick), bottom + 20, `${tick}${x.unit}`, 'text-anchor="middle"'),
    ]),
    line(LEFT, bottom, LEFT + INNER, bottom, INK),
    text(LEFT + INNER / 2, bottom + 40, x.label, 'text-anchor="middle"'),
    text(
      0,
      0,
      panel.label,
      `text-anchor="middle" transform="translate(24 ${top + PANEL_HEIGHT / 2}) rotate(-90)"`,
    ),
    ...panel.promises.flatMap((promise) => [
      `<line x1="${at(atX(promise.x))}" y1="${at(atY(promise.y))}" x2="${at(atX(promise.toX))}" y2="${at(atY(promise.y))}" stroke="${PROMISE}" stroke-width="1.5" stroke-dasharray="5 4"/>`,
      text(
        atX(promise.toX),
        atY(promise.y) - 6,
        promise.label,
        `text-anchor="end" font-size="11" fill="${PROMISE}"`,
      ),
    ]),
    ...panel.curves.flatMap(({ points, colour, marker }) => [
      `<polyline fill="none" stroke="${colour}" stroke-width="2.5" stroke-linejoin="round" points="${points.map((point) => `${at(atX(point.x))},${at(atY(point.y))}`).join(' ')}"/>`,
      ...points.map((point) => mark(atX(point.x), atY(point.y), colour, marker)),
    ]),
  ]
}

function legend(curves: readonly Curve[]): string[] {
  return curves.flatMap(({ label, colour, marker }, index) => {
    const left = LEFT + index * 300
    return [
      `<line x1="${left}" y1="72" x2="${left + 30}" y2="72" stroke="${colour}" stroke-width="2.5"/>`,
      mark(left + 15, 72, colour, marker),
      text(left + 38, 76, label),
    ]
  })
}

/** Shapes differ as well as colours, for those who cannot tell the colours apart. */
function mark(x: number, y: number, colour: string, marker: Curve['marker']): string {
  return marker === 'circle'
    ? `<circle cx="${at(x)}" cy="${at(y)}" r="4" fill="${colour}"/>`
    : `<rect x="${at(x - 4)}" y="${at(y - 4)}" width="8" height="8" fill="#ffffff" stroke="${colour}" stroke-width="2"/>`
}

function line(x1: number, y1: number, x2: number, y2: number, colour: string): string {
  return `<line x1="${at(x1)}" y1="${at(y1)}" x2="${at(x2)}" y2="${at(y2)}" stroke="${colour}"/>`
}

function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${at(x)}" y="${at(y)}" ${attributes}>${escape(content)}</text>`
}

function at(value: number): string {
  return String(Math.round(value * 10) / 10)
}

function escape(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
