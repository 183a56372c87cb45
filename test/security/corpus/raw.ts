import { type OutgoingHttpHeaders, request } from 'node:http'
import type { Answer } from '../../fakes/sts.ts'

/** POST with headers that `fetch` would not send: another Host, or a header twice. */
export function rawPost(
  url: string,
  headers: OutgoingHttpHeaders | readonly string[],
  body: string,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: 'POST', headers, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        const fields = Object.entries(response.headers).map(
          ([name, value]) => [name, String(value)] as [string, string],
        )
        resolve({
          status: response.statusCode ?? 0,
          headers: new Headers(fields),
          text,
          body: JSON.parse(text) as Record<string, unknown>,
        })
      })
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}
