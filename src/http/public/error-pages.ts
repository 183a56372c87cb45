import Type from 'typebox'
import { prefers } from '../accept.ts'
import { EdgeError } from '../edge-error.ts'
import { ERROR_CATALOGUE, type ErrorCode, isErrorCode } from '../error-catalogue.ts'
import { EDGE_RENDERINGS, RENDERINGS } from '../render-refusal.ts'
import type { Answer } from '../route.ts'
import type { PublicRoute } from './route.ts'
import { ERROR_ENTRY } from './schemas.ts'

/** GET /errors/{code}: where the `type` of every error leads, also where nothing else of the internet can be reached. */
export function errorPageRoute(): PublicRoute {
  return {
    method: 'GET',
    path: '/errors/:code',
    errors: 'api',
    cors: false,
    operation: {
      id: 'errorPage',
      summary: 'What an error means and how to mend it',
      security: [],
      parameters: [
        {
          name: 'code',
          in: 'path',
          description: 'An error_code.',
          schema: Type.Enum(Object.keys(ERROR_CATALOGUE)),
        },
      ],
      answers: { 200: { type: 'application/json', schema: ERROR_ENTRY } },
      refusals: [404, 405],
    },
    handle: ({ params, headers }) => {
      const code = params['code'] ?? ''
      if (!isErrorCode(code)) throw new EdgeError('not_found', 'There is no such error code.')
      return prefers(headers.accept, 'text/html', 'application/json')
        ? page('text/html; charset=utf-8', htmlOf(code))
        : page('application/json', JSON.stringify(entryOf(code)))
    },
  }
}

function page(type: string, body: string): Answer {
  return {
    status: 200,
    headers: { 'content-type': type, 'cache-control': 'public, max-age=3600', vary: 'Accept' },
    body,
  }
}

function entryOf(code: ErrorCode): Record<string, unknown> {
  const { status, error } = { ...RENDERINGS, ...EDGE_RENDERINGS }[code]
  return { error_code: code, ...ERROR_CATALOGUE[code], status, error }
}

function htmlOf(code: ErrorCode): string {
  const { title, meaning, cause, mend } = ERROR_CATALOGUE[code]
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${escapeHtml(code)}</title>
<h1>${escapeHtml(title)}</h1>
<p><code>${escapeHtml(code)}</code></p>
<dl><dt>Meaning</dt><dd>${escapeHtml(meaning)}</dd>
<dt>Usual cause</dt><dd>${escapeHtml(cause)}</dd>
<dt>What to do</dt><dd>${escapeHtml(mend)}</dd></dl>
</html>
`
}

/** The texts are ours, but a catalogue that someone extends must not become a way to write markup. */
function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
