import { parseIp } from '../../../core/base/ip.ts'
import { type Name, parseName } from '../../../discovery/dns/name.ts'
import { type OwnerChange, type RrSet } from '../../../discovery/records/zone-change.ts'

/** How many services the names are of. */
export interface BenchSize {
  readonly services: number
  readonly tasksEach: number
}

/** 1,000 services and 3,500 tasks, as in reference/dns-performance.md: about. */
export const smallSize: BenchSize = { services: 1000, tasksEach: 4 }

const ttlSeconds = 5
const taskName = (service: number, task: number) =>
  parseName(`svc${service}-a${task.toString(36).padStart(4, '0')}-s${service % 50}.marathon.mesos`)
const serviceName = (service: number) => parseName(`svc${service}.marathon.mesos`)
const srvName = (service: number) => parseName(`_svc${service}._tcp.marathon.mesos`)

/** For each service: the name of all its tasks, one for each task, and an SRV that leads to two of these. */
export function* benchOwners({ services, tasksEach }: BenchSize): Generator<OwnerChange> {
  const address = (n: number) => ({
    type: 'A' as const,
    address: parseIp(`10.${80 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`),
  })
  const a = (data: RrSet['data']): readonly RrSet[] => [{ code: 1, ttlSeconds, data }]
  for (let service = 0; service < services; service++) {
    const first = service * tasksEach
    const tasks = Array.from({ length: tasksEach }, (_, i) => i)
    yield { owner: serviceName(service), rrsets: a(tasks.map((i) => address(first + i))) }
    for (const i of tasks) yield { owner: taskName(service, i), rrsets: a([address(first + i)]) }
    const srv = (i: number) => ({
      type: 'SRV' as const,
      priority: 0,
      weight: 1,
      port: 31000 + i,
      target: taskName(service, i),
    })
    yield { owner: srvName(service), rrsets: [{ code: 33, ttlSeconds, data: tasks.slice(0, 2).map(srv) }] }
  }
}

/** The same as a zone file, for other servers. */
export function benchZoneFile(size: BenchSize): string {
  const lines = ['$ORIGIN mesos.', '@ 5 IN SOA ns1.mesos. root.ns1.mesos. 7 60 600 86400 1', '@ 3600 IN NS ns1.mesos.']
  lines.push('ns1.mesos. 5 IN A 198.51.100.1')
  for (const { owner, rrsets } of benchOwners(size)) {
    for (const { data } of rrsets) {
      for (const item of data) {
        if (item.type === 'A') lines.push(`${owner} ${ttlSeconds} IN A ${item.address}`)
        if (item.type === 'SRV') lines.push(`${owner} ${ttlSeconds} IN SRV 0 1 ${item.port} ${item.target}`)
      }
    }
  }
  return `${lines.join('\n')}\n`
}

/** How many names `n0.example.test`, … there are for forwarders; dnsperf asks for 500 of them. */
export const foreignNames = 3000

/** Lines for dnsperf. The mix: 70 % A, 20 % SRV, 5 % without such data, 5 % without such a name. */
export function benchQueries(kind: 'A' | 'SRV' | 'mix' | 'foreign', { services, tasksEach }: BenchSize): string {
  const lines: string[] = []
  for (let i = 0; i < 4000; i++) {
    const service = (i * 7) % services
    const a = i % 2 === 0 ? serviceName(service) : taskName(service, i % tasksEach)
    const part = kind === 'mix' ? i % 20 : kind === 'SRV' ? 15 : 0
    if (kind === 'foreign') lines.push(`n${i % 500}.example.test A`)
    else if (part < 14) lines.push(`${a} A`)
    else if (part < 18) lines.push(`${srvName(service)} SRV`)
    else lines.push(part === 18 ? `${a} TXT` : `no${i}.marathon.mesos A`)
  }
  return `${lines.join('\n')}\n`
}

/** What the zones of the benchmark begin at. */
export const benchApex: Name = parseName('mesos')
