import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type NetworkList, parseNetworkList } from '../../cni-plugins/cni/config.ts'
import { addNetwork, delNetwork, type PluginRunner } from '../../cni-plugins/cni/invoke.ts'
import { type CniDns, type CniResult } from '../../cni-plugins/cni/result.ts'
import { AppError, errorMessage, hasCode } from '../base/errors.ts'
import { type NetworkInfo, type NetworkRequest } from '../model/task.ts'
import { type Attachment } from './record.ts'

/** How long a plugin may take before it is killed. */
const pluginTimeoutMs = 60_000

/** Network namespaces pinned by a path. */
export interface Namespaces {
  /** Makes a namespace with loopback up, and pins it at `path`. */
  create(path: string): void
  /** Unpins it; done when there is none. */
  remove(path: string): void
  /** False after a reboot: the file is there, the namespace is not. */
  exists(path: string): boolean
}

/** A container, as far as its networks are concerned. */
export interface NetworkTarget {
  readonly containerId: string
  /** Path of its namespace. */
  readonly netns: string
  readonly attachments: readonly Attachment[]
}

/** Attaches containers to networks by invoking CNI plugins, as any runtime would. */
export interface ContainerNetwork {
  /** Reads the configurations that ADD will use. @throws ERR_AGENT_NETWORK_UNKNOWN, ERR_AGENT_NETWORK_TWICE, ERR_CNI_* */
  prepare(requests: readonly NetworkRequest[]): Promise<readonly Attachment[]>
  /**
   * Makes the namespace, if there is none, and runs ADD for each; the caller detaches after a failure.
   * @throws ERR_CNI_*, ERR_NETNS_*
   */
  attach(target: NetworkTarget, options: { readonly signal: AbortSignal }): Promise<readonly CniResult[]>
  /** Runs DEL for each, then removes the namespace. Idempotent. @throws AggregateError of what failed */
  detach(target: NetworkTarget & { readonly results: readonly CniResult[] }): Promise<void>
}

/** Opens it over a folder of `<network>.conflist` files. */
export function openContainerNetwork(options: {
  readonly confDir: string
  readonly runner: PluginRunner
  readonly namespaces: Namespaces
}): ContainerNetwork {
  const { confDir, runner, namespaces } = options
  const prepare = async (requests: readonly NetworkRequest[]) => {
    refuseTwice(requests)
    return Promise.all(requests.map(async (request, index) => prepareOne(confDir, request, index)))
  }
  const attach = async (target: NetworkTarget, { signal }: { readonly signal: AbortSignal }) => {
    // A container of Docker has brought its own.
    if (!namespaces.exists(target.netns)) namespaces.create(target.netns)
    const results: CniResult[] = []
    // In order: the first network gives the default route, the others only their own prefixes.
    for (const attachment of target.attachments) {
      const { list, attachment: wanted } = callOf(target, attachment)
      const call = { list, attachment: { ...wanted, netns: target.netns } }
      results.push(await addNetwork(runner, call, { signal: AbortSignal.any([signal, timeout()]) }))
    }
    return results
  }
  const detach = async (target: NetworkTarget & { readonly results: readonly CniResult[] }) => {
    const failures: unknown[] = []
    const netns = namespaces.exists(target.netns) ? { netns: target.netns } : {}
    for (const [index, attachment] of [...target.attachments.entries()].toReversed()) {
      const prevResult = target.results[index]
      const { list, attachment: wanted } = callOf(target, attachment)
      const call = { list, attachment: { ...wanted, ...netns }, ...(prevResult === undefined ? {} : { prevResult }) }
      await delNetwork(runner, call, { signal: timeout() }).catch((error: unknown) => failures.push(error))
    }
    // The namespace goes last: DEL looks into it.
    if (failures.length === 0) namespaces.remove(target.netns)
    else throw new AggregateError(failures, `detaching ${target.containerId}: ${failures.map(errorMessage).join('; ')}`)
  }
  return { prepare, attach, detach }
}

/** The addresses of a task, as its status tells them. */
export function networkInfos(attachments: readonly Attachment[], results: readonly CniResult[]): NetworkInfo[] {
  return attachments.map(({ network }, index) => ({
    name: network,
    addresses: (results[index]?.ips ?? []).map(({ address }) => address),
  }))
}

/** What containers on these networks resolve with: the first answer that names a server. */
export function dnsOf(results: readonly CniResult[]): CniDns | undefined {
  return results.map(({ dns }) => dns).find(({ nameservers }) => nameservers.length > 0)
}

function refuseTwice(requests: readonly NetworkRequest[]): void {
  const names = requests.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice === undefined) return
  throw new AppError('ERR_AGENT_NETWORK_TWICE', `network "${twice}" is asked for twice: name each network once`)
}

async function prepareOne(confDir: string, request: NetworkRequest, index: number): Promise<Attachment> {
  const { name: network, portMappings } = request
  const path = join(confDir, `${network}.conflist`)
  try {
    const config = await readFile(path, 'utf8')
    parseNetworkList(config)
    return { network, ifName: `eth${index}`, config, portMappings }
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    const advice = 'this node does not know it (yet): see `weft network list`'
    throw new AppError('ERR_AGENT_NETWORK_UNKNOWN', `network "${network}": no ${path}; ${advice}`, { cause: error })
  }
}

interface NetworkCall {
  readonly list: NetworkList
  readonly attachment: {
    readonly containerId: string
    readonly ifname: string
    readonly capabilityArgs: Readonly<Record<string, unknown>>
  }
}

function callOf({ containerId }: NetworkTarget, { ifName, config, portMappings }: Attachment): NetworkCall {
  const mapped = portMappings.filter(({ hostPort }) => hostPort !== 0)
  const capabilityArgs = mapped.length === 0 ? {} : { portMappings: mapped.map((mapping) => ({ ...mapping })) }
  return { list: parseNetworkList(config), attachment: { containerId, ifname: ifName, capabilityArgs } }
}

function timeout(): AbortSignal {
  return AbortSignal.timeout(pluginTimeoutMs)
}
