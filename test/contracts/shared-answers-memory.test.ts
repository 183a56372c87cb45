import { createMemorySharedAnswers } from '../../src/adapters/memory/shared-answers.ts'
import { sharedAnswersContract } from './shared-answers.ts'

sharedAnswersContract('memory', () => {
  let milliseconds = 1_790_000_000_000
  const now = () => milliseconds
  const connect = createMemorySharedAnswers({ clock: { now } })
  return Promise.resolve({
    answers: connect(),
    second: connect(),
    now,
    advance: (passed) => void (milliseconds += passed),
    close: () => Promise.resolve(),
  })
})
