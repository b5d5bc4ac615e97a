import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { runAt } from '../../../core/cli/up/checks.ts'
import { type LocalCluster } from '../../../core/cli/up/cluster.ts'
import { isRecord } from '../../../core/cli/api.ts'
import { netnsPath } from '../../../core/cli/up/layout.ts'
import { recordsOf } from '../../../core/cli/up/sample.ts'
import { gracefulServer } from '../http-load.ts'
import { eventually, servingTasks } from '../local-cluster.ts'

/** How hard the fault suites press: the test guest has one slow processor. */
export interface Pressure {
  /** Requests per second of one load. */
  readonly perSecond: number
  /** How often all backends are replaced. */
  readonly releases: number
  /** From how many places a service is called meanwhile. */
  readonly places: number
}

/** On this machine, and in the test guest. */
export const pressures: Readonly<Record<'machine' | 'guest', Pressure>> = {
  machine: { perSecond: 70, releases: 4, places: 3 },
  guest: { perSecond: 15, releases: 2, places: 2 },
}

/** On the network that all tests of VIPs use. */
export const onDcos = [{ mode: 'container', name: 'dcos' }]

/** An app `/web` whose tasks end gracefully, behind `/web:80`. */
export function webApp(instances: number, release = 0): Readonly<Record<string, unknown>> {
  return {
    ...{ id: '/web', args: ['/usr/bin/perl', '-e', gracefulServer], instances, networks: onDcos, cpus: 0.1, mem: 64 },
    env: { RELEASE: String(release) },
    container: { portMappings: [{ containerPort: 8080, labels: { VIP_0: '/web:80' } }] },
    healthChecks: [{ protocol: 'MESOS_TCP', intervalSeconds: 0.2, timeoutSeconds: 2, gracePeriodSeconds: 30 }],
    taskKillGracePeriodSeconds: 10,
  }
}

/** Until no deployment runs, and every node has what it made. */
export async function settled({ api }: LocalCluster): Promise<void> {
  await eventually('the deployment is over', async () => {
    const deployments = await api.get('/v2/deployments')
    return Array.isArray(deployments) && deployments.length === 0 ? true : undefined
  })
  await eventually('every node has it', async () => {
    const answer = await api.get('/weft/v1/converge?timeoutMs=10000')
    return isRecord(answer) && answer['converged'] === true ? true : undefined
  })
}

/** Ids of the serving tasks of an app. */
export async function idsOf(cluster: LocalCluster, app: string): Promise<readonly string[]> {
  return (await servingTasks(cluster, app)).map(({ id }) => String(id))
}

/** The IPv4 address of an app's VIP. */
export async function vipOf({ api }: LocalCluster, name: string): Promise<string> {
  const vips = await recordsOf(api, '/weft/v1/vips', 'vips')
  const addresses = vips.filter((vip) => vip['name'] === name).flatMap((vip) => vip['addresses'])
  return String(addresses.find((address) => String(address).includes('.')))
}

/** Removes apps, and waits until nothing of them is left: their names may be used again. */
export async function removeApps({ api }: LocalCluster, ...names: readonly string[]): Promise<void> {
  for (const name of names) await api.send('DELETE', `/v2/apps/${name}?force=true`)
  await eventually('they have gone', async () => {
    const found = await Promise.all(names.map((name) => api.request('GET', `/v2/apps/${name}`)))
    return found.every(({ status }) => status === 404) ? true : undefined
  })
}

/** What balances on a host. */
export async function dataPlaneOf({ layout }: LocalCluster, host: string): Promise<'ipvs' | 'nftables'> {
  const chains = await runAt(layout, host, ['nft', 'list', 'table', 'inet', 'weft'])
  return chains.includes('chain lb-vs-input') ? 'ipvs' : 'nftables'
}

async function shell(namespace: string, script: string): Promise<string> {
  return (await promisify(execFile)('nsenter', [namespace, 'sh', '-c', script])).stdout
}

/** All that leads VIPs on a host, in a form that is the same whenever it is the same: counters left out, lines sorted. */
export async function balancingOf(cluster: LocalCluster, host: string): Promise<string> {
  return (await lookAtBalancing(cluster, host)).balancing
}

/** {@link balancingOf}, and when it was read: starting the commands that read it takes a busy machine a while. */
export async function lookAtBalancing(
  cluster: LocalCluster,
  host: string,
): Promise<{ readonly atMs: number; readonly balancing: string }> {
  const script = `date +%s%3N; nft -s list table inet weft; echo ROUTES; ip route show table local proto 87
    ip -6 route show table local proto 87; echo IPVS; cat /proc/net/ip_vs 2>/dev/null || true`
  const [now = '', objects = '', rest = ''] = (await shell(`--net=${namespaceOf(cluster, host)}`, script)).split(
    /(?<=^\d+)\n|ROUTES\n/,
  )
  const [routes = [], virtual = []] = rest.split('IPVS\n').map((part) => part.split('\n'))
  const elements =
    objects.match(
      /((map|set) lb-|chain lb-(prerouting|output|input|postrouting|vs-))[^{]*\{[^}]*(elements = \{[^}]*)?\}/g,
    ) ?? []
  const services: string[] = []
  let service = ''
  for (const line of virtual.slice(3)) {
    const [first, second, third, weight] = line.trim().split(/\s+/)
    if (first !== '->') service = line.trim()
    services.push(first === '->' ? `${service} ${second} ${third} ${weight}` : service)
  }
  const sets = elements.map((text) =>
    text
      .split(/[,{}]/)
      .map((part) => part.replace(/\s+/g, ' ').trim())
      .toSorted()
      .join('\n'),
  )
  const lines = [...sets.toSorted(), ...routes.map((line) => line.trim()).toSorted(), ...services.toSorted()]
  return { atMs: Number(now), balancing: lines.join('\n') }
}

/** The path of a host's network namespace. */
export function namespaceOf({ layout }: LocalCluster, host: string): string {
  const found = layout.hosts.find(({ name }) => name === host)
  if (found === undefined) throw new Error(`no host ${host}`)
  return netnsPath(found.netns)
}
