/** What each exit code of the command line means (architecture §8); stable, so that scripts can rely on them. */
export const EXIT = {
  yes: 0,
  bug: 1,
  usage: 2,
  configInvalid: 3,
  notPermitted: 4,
  no: 5,
  unreachable: 6,
  planHasChanges: 7,
  integrityBroken: 8,
  conflict: 9,
} as const

/** One of the exit codes. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]
