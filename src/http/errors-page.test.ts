import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ERROR_CATALOGUE, type ErrorCode, isErrorCode } from './error-catalogue.ts'
import { EDGE_RENDERINGS, RENDERINGS } from './render-refusal.ts'

const PAGE = new URL('../../docs/errors.md', import.meta.url)

/** The section of one code as docs/errors.md has it; a change of the catalogue is pasted there from the message of this test. */
function section(code: ErrorCode): string {
  const { title, meaning, cause, mend } = ERROR_CATALOGUE[code]
  const { status, error } = { ...RENDERINGS, ...EDGE_RENDERINGS }[code]
  return [
    `### ${code}`,
    '',
    `${title}. Status ${status}, \`${error}\`.`,
    '',
    `* Meaning: ${meaning}`,
    `* Cause: ${cause}`,
    `* Mend: ${mend}`,
    '',
  ].join('\n')
}

const codes = Object.keys(ERROR_CATALOGUE).filter(isErrorCode)

test('docs/errors.md explains every error code as /errors/{code} does', () => {
  const page = readFileSync(PAGE, 'utf8')
  for (const code of codes)
    assert.ok(page.includes(section(code)), `docs/errors.md needs:\n\n${section(code)}`)
})

test('docs/errors.md explains no error code that does not exist', () => {
  const headings = [...readFileSync(PAGE, 'utf8').matchAll(/^### (\w+)$/gm)].map(([, code]) =>
    String(code),
  )
  assert.deepEqual(headings.toSorted(), codes.toSorted())
})

test('every entry of the catalogue has a title, a meaning, a cause and a mend, in words that an error_description may hold', () => {
  for (const code of codes) {
    for (const [field, text] of Object.entries(ERROR_CATALOGUE[code]))
      assert.match(text, /^[\x20-\x21\x23-\x5B\x5D-\x7E]{5,400}$/, `${code}.${field}`)
  }
})
