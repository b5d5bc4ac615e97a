import { connect } from 'node:net'
import { type Clock } from '../../core/base/clock.ts'
import { hasCode } from '../../core/base/errors.ts'
import { type Ip } from '../../core/base/ip.ts'
import { probePort } from './message.ts'

/**
 * Asks a node's kernel, not its daemon: a TCP connection to a port where nobody listens is refused by a kernel that is
 * there. A firewall that drops it makes silence.
 */
export function knock(
  address: Ip,
  { timeoutMs, clock, signal }: { readonly timeoutMs: number; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<'answered' | 'silence'> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port: probePort })
    const finish = (result: 'answered' | 'silence') => {
      cancel()
      signal.removeEventListener('abort', give)
      socket.destroy()
      resolve(result)
    }
    const give = () => finish('silence')
    // Where the process was held up, the answer may be here already: it is looked at before the time counts as over.
    const cancel = clock.after(timeoutMs, () => setImmediate(() => setImmediate(give)))
    signal.addEventListener('abort', give, { once: true })
    socket.once('connect', () => finish('answered'))
    socket.on('error', (error) => finish(hasCode(error, 'ECONNREFUSED') ? 'answered' : 'silence'))
  })
}
