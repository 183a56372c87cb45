import { VERSION } from '../lib/version.ts'
import type { DevState } from './dev-state.ts'
import { devPaths } from './dev-state.ts'

/** What `up` says when everything runs: where things are, and lines that work when pasted. */
export function banner(ready: {
  readonly state: DevState
  readonly folder: string
  readonly readyMilliseconds: number
}): string {
  const { state, folder } = ready
  const paths = devPaths(folder)
  return `
rolemint ${VERSION}   dev mode: demo identity provider and entitlements inside. Not for production.   ready in ${(ready.readyMilliseconds / 1000).toFixed(1)} s

  issuer   ${state.server}      admin  ${state.admin}
  client   ${state.client}, secret in ${paths.clientSecret}      audience  ${state.audience}
  users    alice (orders.admin)   bob (orders.read)   carol (unknown to the entitlement system)

Paste into another terminal in this folder:

  curl -s ${state.server}/token -u "${state.client}:$(cat ${paths.clientSecret})" \\
    -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \\
    -d subject_token_type=urn:ietf:params:oauth:token-type:jwt \\
    --data-urlencode subject_token@${paths.token('alice')}

  npx rolemint token exchange --as alice | npx rolemint token inspect
  npx rolemint token exchange --as bob | npx rolemint token why --role orders.admin
  npx rolemint token exchange --as carol
  npx rolemint access preview --user alice@demo.example --client ${state.client}
  npx rolemint keys rotate --reason demo

Ctrl-C stops everything; ${folder} keeps the keys for the next time.
`
}
