/** The figure of the overload run: what a server still does, and how fast, when asked for more than it can do. */
import type { Figures } from './judge.ts'
import type { Curve, Plot } from './plot.ts'
import { RETRY_STEP } from './programme.ts'

const COLOURS = { rolemint: '#0b5fa5', peer: '#c2570c' } as const

/** Both servers at multiples of their own peaks. */
export function overloadPlot(rolemint: Figures, peer: Figures, subtitle: string): Plot {
  const curvesOf = (pick: (figures: Figures) => Readonly<Record<string, number>>): Curve[] => [
    curve('rolemint', 'circle', rolemint, pick),
    curve('peer', 'square', peer, pick),
  ]
  const normal = rolemint.p99['0.7×'] ?? Number.NaN
  return {
    title: 'Overload: what is asked for and what is answered in time',
    subtitle,
    x: {
      label: 'offered load, as a multiple of what the server can do',
      to: 11,
      ticks: [0, 1, 2, 3, 5, 7, 10],
      unit: '×',
    },
    panels: [
      {
        label: 'answered within 1 s, % of peak',
        scale: 'linear',
        from: 0,
        to: 110,
        ticks: [0, 25, 50, 75, 100],
        unit: ' %',
        curves: curvesOf(({ goodput }) => map(goodput, (share) => share * 100)),
        promises: [
          { x: 1, toX: 2, y: 90, label: 'promise' },
          { x: 2, toX: 5, y: 70, label: 'promise' },
        ],
      },
      {
        label: 'p99 of these answers',
        scale: 'log',
        from: 1,
        to: 1000,
        ticks: [1, 3, 10, 30, 100, 300, 1000],
        unit: ' ms',
        curves: curvesOf(({ p99 }) => p99),
        promises: [{ x: 0.7, toX: 5, y: normal * 3, label: 'promise: 3 × rolemint at 0.7×' }],
      },
    ],
  }
}

function curve(
  who: keyof typeof COLOURS,
  marker: Curve['marker'],
  figures: Figures,
  pick: (figures: Figures) => Readonly<Record<string, number>>,
): Curve {
  const name = who === 'peer' ? 'oidc-provider' : who
  const points = Object.entries(pick(figures))
    .filter(([step]) => step !== RETRY_STEP)
    .map(([step, y]) => ({ x: figures.offered[step] ?? Number.NaN, y }))
    .filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y))
  return {
    label: `${name} (peak ${figures.peakPerSecond.toFixed(0)}/s)`,
    colour: COLOURS[who],
    marker,
    points: points.toSorted((a, b) => a.x - b.x),
  }
}

function map(from: Readonly<Record<string, number>>, to: (value: number) => number) {
  return Object.fromEntries(Object.entries(from).map(([name, value]) => [name, to(value)] as const))
}
