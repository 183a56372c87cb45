import { createEgress } from '../../src/adapters/http/egress.ts'
import { createHttpEntitlementSource } from '../../src/adapters/http/entitlement-source.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { startEntitlementApi } from '../fakes/entitlement-api.ts'
import { createFakeEntitlementSource, sourceOf } from '../fakes/entitlement-source.ts'
import { entitlementSourceContract } from './entitlement-source.ts'

entitlementSourceContract('http', async () => {
  const api = await startEntitlementApi()
  const port = createHttpEntitlementSource({
    egress: createEgress({ allow: [], allowLoopback: true }),
    clock: systemClock,
  })
  return {
    port,
    source: sourceOf({ url: api.url, echoPath: 'user' }),
    know: (user, roles) => void api.users.set(user, roles),
    async break(how) {
      if (how === 'gone') await api.close()
      if (how === 'silent') api.behave({ hang: true })
      if (how === 'refusing') api.behave({ status: 403 })
    },
    async close() {
      await port.close()
      await api.close()
    },
  }
})

entitlementSourceContract('memory', async () => {
  const port = createFakeEntitlementSource()
  const source = sourceOf()
  return {
    port,
    source,
    know: (user, roles) => port.know(source.name, user, roles),
    break(how) {
      if (how === 'silent') port.hold()
      else port.fail(source.name, how === 'gone' ? 'unreachable' : 'status')
    },
    close: () => Promise.resolve(),
  }
})
