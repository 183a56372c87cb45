import type { Command } from 'commander'
import type { Terminal } from './terminal.ts'

/** Each command is loaded when it is asked for: a server need not carry what only a person at a prompt uses. */
export function commands(terminal: Terminal): Readonly<Record<string, () => Promise<Command>>> {
  return {
    up: async () => (await import('./up.ts')).upCommand(terminal),
    serve: async () => (await import('./serve.ts')).serveCommand(terminal),
    status: async () => (await import('./status.ts')).statusCommand(terminal),
    config: async () => (await import('./config.ts')).configCommand(terminal),
    token: async () => (await import('./token.ts')).tokenCommand(terminal),
    access: async () => (await import('./access.ts')).accessCommand(terminal),
    breaker: async () => (await import('./breaker.ts')).breakerCommand(terminal),
    cache: async () => (await import('./cache.ts')).cacheCommand(terminal),
    idp: async () => (await import('./idp.ts')).idpCommand(terminal),
    keys: async () => (await import('./keys.ts')).keysCommand(terminal),
    async source() {
      const { openSource } = await import('../compose-dependencies.ts')
      return (await import('./source.ts')).sourceCommand(terminal, openSource)
    },
    client: async () => (await import('./client.ts')).clientCommand(terminal),
    admin: async () => (await import('./admin.ts')).adminCommand(terminal),
  }
}
