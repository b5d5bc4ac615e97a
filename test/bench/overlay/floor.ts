import { openRequestMaker } from '../../../networking/netlink/template.ts'
import { requestAck, writeMessage } from '../../../networking/netlink/message.ts'
import { type RouteOp } from '../../../networking/netlink/ops.ts'
import { NETLINK_ROUTE, openPort } from '../../../networking/netlink/port.ts'
import { openRouteSocket } from '../../../networking/netlink/route-socket.ts'
import { Writer } from '../../../networking/netlink/writer.ts'
import { type TestHost } from '../../support/hosts.ts'

const batchBytes = 16_000

/**
 * What the kernel alone takes for the ops: the same octets, made beforehand, in the same pieces (all but a last part of one).
 * @returns milliseconds
 */
export async function kernelAlone(host: TestHost, ops: readonly RouteOp[]): Promise<number> {
  const isDevice = ({ kind }: RouteOp) => kind.startsWith('link.') || kind.startsWith('address.')
  const routes = openRouteSocket({ netns: host.path })
  const port = openPort({ protocol: NETLINK_ROUTE, netns: host.path })
  try {
    for (const outcome of await routes.perform(ops.filter(isDevice))) if (!outcome.ok) throw outcome.error
    const indexes = new Map((await routes.links()).map(({ name, index }) => [name, index]))
    const maker = openRequestMaker((device) => indexes.get(device) ?? 0)
    const pieces: Writer[] = []
    let writer = new Writer(1 << 16)
    for (const [position, op] of ops.filter((op) => !isDevice(op)).entries()) {
      const start = writer.length
      writeMessage(writer, maker.request(op), () => position + 1)
      if (writer.length < batchBytes) continue
      requestAck(writer, start)
      pieces.push(writer)
      writer = new Writer(1 << 16)
    }
    const begin = performance.now()
    for (const { buffer, length } of pieces) {
      if (port.native.sockets.send(port.fd, buffer, length) < 0) throw new Error('the kernel refused a batch')
      port.native.sockets.receive(port.fd, port.receiveBuffer)
    }
    return performance.now() - begin
  } finally {
    routes.close()
    port.close()
  }
}
