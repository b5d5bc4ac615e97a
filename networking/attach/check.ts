import { type Link, type Route, type RouteSocket } from '../netlink/ops.ts'
import { routeProtocol } from '../protocol.ts'
import { type AttachKernel } from './kernel.ts'
import { type AttachSpec, familiesOf, type GatewayRoute, gatewayOf, hostRoutes } from './plan.ts'
import { type Sandbox } from './sandbox.ts'

/** What an attached interface must have. */
export interface CheckedAttachment {
  readonly spec: Omit<AttachSpec, 'wholeSubnets' | 'mtuBytes'>
  /** Those that ADD answered. */
  readonly routes: readonly GatewayRoute[]
}

/**
 * Compares both ends with what ADD made. What others added, or changed of what is not asked for here (MTU, say), is
 * their business.
 * @returns one line for each thing that is wrong @throws ERR_ATTACH_NETNS
 */
export async function checkContainer(
  kernel: AttachKernel,
  attachment: CheckedAttachment,
  sandbox: Sandbox,
): Promise<readonly string[]> {
  const inside = kernel.openInside(sandbox.fd)
  try {
    return [...(await checkHostEnd(kernel.host, attachment)), ...(await checkInside(inside, attachment))]
  } finally {
    inside.close()
  }
}

async function checkHostEnd(host: RouteSocket, { spec }: CheckedAttachment): Promise<readonly string[]> {
  const link = await host.link(spec.hostLink)
  const problems = checkLink(spec.hostLink, link)
  if (link === undefined) return problems
  const routes = await host.routes({ protocol: routeProtocol })
  const missing = hostRoutes(spec).filter(
    (wanted) =>
      !routes.some(({ destination, device }) => destination === wanted.destination && device === wanted.device),
  )
  return [...problems, ...missing.map(({ destination }) => `the node has no route to ${destination}`)]
}

async function checkInside(inside: RouteSocket, { spec, routes }: CheckedAttachment): Promise<readonly string[]> {
  const link = await inside.link(spec.ifname)
  const problems = [...checkLink(spec.ifname, link)]
  if (link === undefined) return problems
  if (link.mac !== spec.mac) problems.push(`${spec.ifname} has Ethernet address ${link.mac}, not ${spec.mac}`)
  const addresses = (await inside.addresses()).filter(({ device }) => device === spec.ifname)
  for (const address of spec.addresses) {
    if (!addresses.some((found) => found.address === address)) problems.push(`${spec.ifname} lacks ${address}`)
  }
  const present = await inside.routes({ table: 254 })
  const lost = routes.filter((route) => !present.some((found) => leads(found, route, spec.ifname)))
  problems.push(...lost.map(({ destination, gateway }) => `no route to ${destination} via ${gateway}`))
  const neighbours = (await inside.neighbours()).filter(({ device }) => device === spec.ifname)
  for (const gateway of familiesOf(spec).map(gatewayOf)) {
    const known = neighbours.some(({ address, mac }) => address === gateway && mac === spec.hostMac)
    if (!known) problems.push(`${spec.ifname} does not know the gateway ${gateway}`)
  }
  return problems
}

function leads(found: Route, wanted: GatewayRoute, device: string): boolean {
  return found.destination === wanted.destination && found.gateway === wanted.gateway && found.device === device
}

function checkLink(name: string, link: Link | undefined): readonly string[] {
  if (link === undefined) return [`there is no link ${name}`]
  if (link.type !== 'veth') return [`link ${name} is no veth but ${link.type || 'a device of another kind'}`]
  return link.up ? [] : [`link ${name} is down`]
}
