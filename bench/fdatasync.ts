import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type Spread, spreadOf } from './spread.ts'

/** About what one ledger entry takes. */
const RECORD_BYTES = 512

/**
 * Milliseconds that one small append and its fdatasync take on the disk of `folder`, one after the other: what any
 * durable ledger has to wait for at least once.
 *
 * @throws {Error} when the folder cannot be written.
 */
export function measureFdatasync(folder: string, appends: number): Spread {
  const file = join(folder, 'fdatasync.probe')
  const record = Buffer.alloc(RECORD_BYTES, 'x')
  const handle = openSync(file, 'w')
  try {
    const taken = new Float64Array(appends)
    for (let append = 0; append < appends; append += 1) {
      const start = performance.now()
      writeSync(handle, record)
      fdatasyncSync(handle)
      taken[append] = performance.now() - start
    }
    return spreadOf(taken)
  } finally {
    closeSync(handle)
    rmSync(file)
  }
}
