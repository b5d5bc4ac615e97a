import { z } from 'zod'
import { parseCidr } from '../../base/cidr.ts'
import { AppError } from '../../base/errors.ts'
import { parseIp } from '../../base/ip.ts'
import { parseAgentId, parseFrameworkId, parseMac, parseNetworkName, parseNodeName } from '../../model/ids.ts'
import { type Policy } from '../../model/policy.ts'
import { type Network } from '../../model/snapshot.ts'
import { storedPolicy } from '../policies/schema.ts'
import {
  type AgentRecord,
  type FrameworkRecord,
  type GoneRecord,
  type NodeRecord,
  type QuotaRecord,
  type VipRecord,
  type WeightRecord,
} from './state.ts'

/** The store's values are read back by other versions of Weft: they are parsed, not trusted. */
const text = z.string()
const natural = z.int().nonnegative()
const cidrs = z.array(text.transform((value) => parseCidr(value)))
const ips = z.array(text.transform((value) => parseIp(value)))
const nodeName = text.transform((value) => parseNodeName(value))
const agentId = text.transform((value) => parseAgentId(value))
const frameworkId = text.transform((value) => parseFrameworkId(value))
const networkName = text.transform((value) => parseNetworkName(value))
const ip = text.transform((value) => parseIp(value))

const resources = z.object({
  cpuMillis: natural,
  memMb: natural,
  diskMb: natural,
  ports: z.array(z.object({ begin: natural, end: natural })),
})

const reservation = z.object({
  role: text,
  kind: z.enum(['static', 'dynamic']),
  principal: text,
  labels: z.record(text, text),
  resources,
  volumes: z.array(z.object({ id: text, sizeMb: natural, containerPath: text })),
})

const weight = z.object({ role: text, weight: z.number().positive() })
const quota = z.object({
  role: text,
  limits: z.object({ cpuMillis: natural.optional(), memMb: natural.optional(), diskMb: natural.optional() }),
})

const drain = z.object({
  maxGraceMs: natural.optional(),
  afterwards: z.enum(['stay', 'gone']),
  sinceMs: z.number(),
  drained: z.literal(true).optional(),
})

const agent = z.object({
  id: agentId,
  nodeName,
  underlay: ip,
  total: resources,
  reserved: z.array(reservation).optional(),
  attributes: z.record(text, text),
  bootId: text,
  httpPort: natural.optional(),
  unreachableSinceMs: z.number().optional(),
  deactivated: z.literal(true).optional(),
  drain: drain.optional(),
})

const gone = z.object({ id: agentId, nodeName, sinceMs: z.number() })

const node = z.object({
  name: nodeName,
  underlay: ip,
  vtep: z.object({ addresses: ips, mac: text.transform((value) => parseMac(value)) }),
  subnets: z.array(z.object({ network: networkName, subnets: cidrs })),
  agentId: agentId.optional(),
  daemon: z.boolean(),
  masterPlace: z.object({ http: text }).optional(),
})

const framework = z.object({
  id: frameworkId,
  info: z.object({
    id: frameworkId.optional(),
    name: text,
    user: text,
    roles: z.array(text),
    failoverTimeoutMs: z.number().nonnegative(),
    capabilities: z.array(text),
    hostname: text,
    principal: text.optional(),
    labels: z.record(text, text).optional(),
    webuiUrl: text.optional(),
    checkpoint: z.boolean().optional(),
  }),
  disconnectedAtMs: z.number().optional(),
  removed: z.boolean(),
})

const network = z.object({
  name: networkName,
  vni: natural,
  subnets: cidrs,
  isolated: z.literal('strict').optional(),
})
const vip = z.object({
  name: text,
  framework: text,
  addresses: ips,
  freedAtMs: z.number().optional(),
  reserved: z.literal(true).optional(),
})

/** Reads one value of each table. @throws ERR_MASTER_REGISTRY for one that this version can't read */
export interface RegistryParsers {
  readonly agents: (value: string) => AgentRecord
  readonly frameworks: (value: string) => FrameworkRecord
  readonly networks: (value: string) => Network
  readonly nodes: (value: string) => NodeRecord
  readonly vips: (value: string) => VipRecord
  readonly policies: (value: string) => Policy
  readonly weights: (value: string) => WeightRecord
  readonly quotas: (value: string) => QuotaRecord
  readonly gone: (value: string) => GoneRecord
}

/** The parsers of all tables. */
export const registryParsers: RegistryParsers = {
  agents: (value) => {
    const { drain: found, ...record } = read(agent, value)
    return { ...dropAbsent(record), ...(found && { drain: dropAbsent(found) }) }
  },
  frameworks: (value) => {
    const record = read(framework, value)
    return { ...dropAbsent(record), info: dropAbsent(record.info) }
  },
  networks: (value) => dropAbsent(read(network, value)),
  nodes: (value) => dropAbsent(read(node, value)),
  vips: (value) => dropAbsent(read(vip, value)),
  policies: (value) => read(storedPolicy, value),
  weights: (value) => read(weight, value),
  quotas: (value) => {
    const { role, limits } = read(quota, value)
    return { role, limits: dropAbsent(limits) }
  },
  gone: (value) => read(gone, value),
}

/** The same without properties that are undefined: zod says `T | undefined` where the model says absent. */
type Present<T> = { [Key in keyof T as undefined extends T[Key] ? never : Key]: T[Key] } & {
  [Key in keyof T as undefined extends T[Key] ? Key : never]?: Exclude<T[Key], undefined>
}

function dropAbsent<T extends object>(record: T): Present<T> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as Present<T> // a codec's end
}

function read<T>(schema: z.ZodType<T>, value: string): T {
  try {
    return schema.parse(JSON.parse(value))
  } catch (cause) {
    const excerpt = value.slice(0, 200)
    throw new AppError('ERR_MASTER_REGISTRY', `the store has a value that this version can't read: ${excerpt}`, {
      cause,
    })
  }
}
