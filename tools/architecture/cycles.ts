import type { Source } from './source.ts'

/**
 * Groups of files that import each other in a circle, each as one path from a file back to itself.
 *
 * Types count too: files that need each other's types cannot be understood one at a time. Tarjan's algorithm would give
 * the same answer; with a few hundred files a search from every file is quick enough and easier to trust.
 */
export function cycles(sources: readonly Source[]): string[][] {
  const next = new Map(
    sources.map(({ path, edges }) => [path, [...new Set(edges.map(({ to }) => to))]]),
  )
  const reported = new Set<string>()
  const found: string[][] = []
  for (const start of next.keys()) {
    if (reported.has(start)) continue
    const way = wayBack(start, next)
    if (!way) continue
    for (const path of way) reported.add(path)
    found.push(way)
  }
  return found
}

/** The shortest way from `start` back to it, both ends included. */
function wayBack(start: string, next: ReadonlyMap<string, string[]>): string[] | undefined {
  const cameFrom = new Map<string, string>()
  const queue = [start]
  for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
    for (const to of next.get(at) ?? []) {
      if (to === start) {
        const way = [start]
        for (let step: string | undefined = at; step !== undefined; step = cameFrom.get(step))
          if (step !== start) way.unshift(step)
        return [start, ...way]
      }
      if (cameFrom.has(to)) continue
      cameFrom.set(to, at)
      queue.push(to)
    }
  }
  return undefined
}
