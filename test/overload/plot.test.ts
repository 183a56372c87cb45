import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Plot, shareOf, svgOf } from './plot.ts'

const PLOT: Plot = {
  title: 'Goodput & <latency>',
  subtitle: 'a test',
  x: { label: 'offered', to: 10, ticks: [0, 5, 10], unit: '×' },
  panels: [
    {
      label: 'answered',
      scale: 'linear',
      from: 0,
      to: 100,
      ticks: [0, 100],
      unit: ' %',
      curves: [
        {
          label: 'one',
          colour: '#111111',
          marker: 'circle',
          points: [
            { x: 0, y: 0 },
            { x: 10, y: 100 },
          ],
        },
        { label: 'two', colour: '#222222', marker: 'square', points: [{ x: 5, y: 50 }] },
      ],
      promises: [{ x: 1, toX: 2, y: 90, label: 'promise' }],
    },
  ],
}

test('places are shares of an axis, by value or by its logarithm, and never outside of it', () => {
  const linear = { scale: 'linear', from: 0, to: 200 } as const
  const log = { scale: 'log', from: 1, to: 1000 } as const
  assert.equal(shareOf(50, linear), 0.25)
  assert.equal(shareOf(500, linear), 1)
  assert.ok(Math.abs(shareOf(10, log) - 1 / 3) < 1e-9)
  assert.equal(shareOf(0.1, log), 0)
})

test('every curve, its marks, its name and the promises are in the drawing, and text is escaped', () => {
  const svg = svgOf(PLOT)
  assert.ok(svg.includes('Goodput &amp; &lt;latency>'))
  assert.equal(svg.match(/<polyline /g)?.length, 2)
  // Two points and one in the legend; one point and one in the legend.
  assert.equal(svg.match(/<circle /g)?.length, 3)
  assert.equal(svg.match(/<rect [^>]*stroke=/g)?.length, 2)
  for (const words of ['>one<', '>two<', '>promise<', '>5×<', '>100 %<'])
    assert.ok(svg.includes(words), words)
  assert.doesNotMatch(svg, /NaN|undefined/)
})

test('the drawing brings its own white ground, so that a dark page does not swallow it', () => {
  assert.match(svgOf(PLOT), /<rect width="\d+" height="\d+" fill="#ffffff"\/>/)
})
