import { AppError } from '../base/errors.ts'

declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

/** `<master uuid>-S<n>`. Source: mesos, src/master/master.cpp. */
export type AgentId = Branded<'AgentId'>
/** `<master uuid>-<4 digits>`. */
export type FrameworkId = Branded<'FrameworkId'>
/** `<master uuid>-O<n>`. */
export type OfferId = Branded<'OfferId'>
/** Chosen by the framework, unique within it while the task lives. */
export type TaskId = Branded<'TaskId'>
/** An executor, unique within its framework on one agent. */
export type ExecutorId = Branded<'ExecutorId'>
/** Name of a machine of the cluster (its host name), unique; a DNS label. */
export type NodeName = Branded<'NodeName'>
/** Name of a virtual network: at most 13 characters, so that interface names derived from it fit. */
export type NetworkName = Branded<'NetworkName'>
/** Ethernet address in lower-case colon notation. */
export type Mac = Branded<'Mac'>

const idPattern = /^[A-Za-z0-9][\w.-]{0,254}$/
const labelPattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
const networkPattern = /^[a-z0-9]([a-z0-9-]{0,11}[a-z0-9])?$/
const macPattern = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/

/** Names that mean something else where a network is named. Source: dcos-mesos-modules, overlay/network.hpp. */
const reservedNetworks: ReadonlySet<string> = new Set(['host', 'bridge', 'default', 'none'])

function parser<Name extends string>(name: Name, pattern: RegExp, rule: string): (text: string) => Branded<Name> {
  return (text) => {
    if (!pattern.test(text)) throw new AppError('ERR_MODEL_ID', `"${text}" is not a ${name}: ${rule}`)
    return text as Branded<Name>
  }
}

const idRule = 'letters, digits, ".", "_" and "-", not starting with punctuation, at most 255'
const labelRule = 'lower-case letters, digits and inner "-", at most 63'

/** @throws ERR_MODEL_ID */
export const parseAgentId = parser('AgentId', idPattern, idRule)
/** @throws ERR_MODEL_ID */
export const parseFrameworkId = parser('FrameworkId', idPattern, idRule)
/** @throws ERR_MODEL_ID */
export const parseOfferId = parser('OfferId', idPattern, idRule)
/** @throws ERR_MODEL_ID */
export const parseTaskId = parser('TaskId', idPattern, idRule)
/** @throws ERR_MODEL_ID */
export const parseExecutorId = parser('ExecutorId', idPattern, idRule)
/** @throws ERR_MODEL_ID */
export const parseNodeName = parser('NodeName', labelPattern, labelRule)
/** @throws ERR_MODEL_ID */
export const parseMac = parser('Mac', macPattern, 'six pairs of lower-case hexadecimal digits with ":" between')

const parseNetworkLabel = parser(
  'NetworkName',
  networkPattern,
  'lower-case letters, digits and inner "-", at most 13 characters',
)

/** @throws ERR_MODEL_ID also for the reserved names host, bridge, default, none */
export function parseNetworkName(text: string): NetworkName {
  if (reservedNetworks.has(text)) throw new AppError('ERR_MODEL_ID', `"${text}" is a reserved network name`)
  return parseNetworkLabel(text)
}
