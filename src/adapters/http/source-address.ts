const PLACEHOLDER = '{user}'

/** The address of a source is not usable, or a link leads away from it. The message is for the operator. */
export class AddressError extends Error {
  override readonly name = 'AddressError'
}

/**
 * The origin of an address template.
 * @throws {AddressError} when `{user}` is missing (everybody would get the same roles) or stands before the path (a user
 *   could choose the host), or when the address carries a name and password.
 */
export function originOf(template: string): string {
  const address = parse(template.replaceAll(PLACEHOLDER, 'user'))
  const authorityEnd = template.indexOf('/', template.indexOf('://') + 3)
  const query = template.indexOf('?')
  const pathStart =
    authorityEnd === -1 || (query !== -1 && query < authorityEnd) ? query : authorityEnd
  if (pathStart === -1 || !template.slice(pathStart).includes(PLACEHOLDER))
    throw new AddressError('the url has no {user} in its path or query')
  if (template.slice(0, pathStart).includes(PLACEHOLDER))
    throw new AddressError('the url has {user} before its path')
  return address.origin
}

/**
 * The address for one user: `{user}` replaced by the percent-encoded name, so that nothing in it ends a path segment,
 * starts a query or breaks the line.
 * @throws {AddressError} for a name that cannot be sent as one segment: `.` and `..` mean another place even when
 *   encoded (WHATWG URL, "single-dot path segment"), and a lone surrogate has no encoding.
 */
export function addressFor(template: string, user: string): URL {
  if (user === '.' || user === '..')
    throw new AddressError('the user name cannot be a path segment')
  mustBeName(user)
  return parse(template.replaceAll(PLACEHOLDER, encodeURIComponent(user)))
}

/**
 * The address of a batch endpoint, which has no `{user}`.
 * @throws {AddressError} when it is on another origin than the source: there would be two places for one credential.
 */
export function batchAddress(url: string, origin: string): URL {
  const address = parse(url)
  if (address.origin !== origin) throw new AddressError('the batch endpoint is on another origin')
  return address
}

/**
 * Refuses what can be no user name wherever it is put.
 * @throws {AddressError} for the empty name and for a lone surrogate, which no encoding carries: sent as a replacement character, it would be
 *   the name of somebody else.
 */
export function mustBeName(user: string): void {
  if (user === '') throw new AddressError('the user name is empty')
  if (!user.isWellFormed()) throw new AddressError('the user name is not well-formed Unicode')
}

/**
 * The address a `next` link leads to.
 * @throws {AddressError} when it leaves `origin`: the link comes from the answer and our credential goes where it points.
 */
export function follow(link: string, current: URL, origin: string): URL {
  const next = parse(link, current)
  if (next.origin !== origin) throw new AddressError('the next page is on another origin')
  return next
}

function parse(address: string, base?: URL): URL {
  const url = URL.parse(address, base?.href)
  if (!url) throw new AddressError('not a URL')
  if (url.username !== '' || url.password !== '')
    throw new AddressError('the URL carries a name or password')
  url.hash = ''
  return url
}
