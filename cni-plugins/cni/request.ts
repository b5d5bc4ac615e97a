import { AppError } from '../../core/base/errors.ts'
import { isCniName, type NetworkConfig, parseNetworkConfig, parsePrevResult } from './config.ts'
import { parseCniArgs, type Wishes, wishesOf } from './args.ts'
import { isJsonObject, objectsField, stringField } from './json.ts'
import { type CniResult } from './result.ts'
import { type CniVersion, isAtLeast, newestCniVersion } from './version.ts'

/** Environment variables by name. */
export type CniEnv = Readonly<Record<string, string | undefined>>

/** One interface of one container: what ADD makes and DEL removes. */
export interface Attachment {
  readonly containerId: string
  readonly ifname: string
}

/** A call of a plugin, checked. */
export type CniRequest =
  | {
      readonly kind: 'ADD'
      readonly attachment: Attachment
      readonly netns: string
      readonly wishes: Wishes
      readonly config: NetworkConfig
      /** Of the plugins before this one. */
      readonly prevResult?: CniResult
    }
  | {
      readonly kind: 'CHECK'
      readonly attachment: Attachment
      readonly netns: string
      readonly config: NetworkConfig
      readonly prevResult: CniResult
    }
  | {
      readonly kind: 'DEL'
      readonly attachment: Attachment
      /** Absent when the namespace is gone. */
      readonly netns?: string
      readonly config: NetworkConfig
    }
  | {
      readonly kind: 'GC'
      readonly config: NetworkConfig
      /** Absent: the runtime did not say, so nothing is stale. */
      readonly valid?: readonly Attachment[]
    }
  | { readonly kind: 'STATUS'; readonly config: NetworkConfig }
  | { readonly kind: 'VERSION'; readonly cniVersion: string }

const commandSince: Readonly<Record<string, CniVersion>> = {
  ADD: '0.1.0',
  DEL: '0.1.0',
  CHECK: '0.4.0',
  GC: '1.1.0',
  STATUS: '1.1.0',
  VERSION: '0.1.0',
}

/**
 * The plugin side of a call: environment and standard input, checked as CNI SPEC.md 1.1.0 says.
 * @throws ERR_CNI_ENVIRONMENT (naming the variables), ERR_CNI_DECODE, ERR_CNI_VERSION, ERR_CNI_CONFIG, ERR_CNI_FIELD
 */
export function parseCniRequest(env: CniEnv, stdin: string): CniRequest {
  const command = env['CNI_COMMAND'] ?? ''
  const since = Object.hasOwn(commandSince, command) ? commandSince[command] : undefined
  if (since === undefined) {
    const commands = Object.keys(commandSince).join(', ')
    throw new AppError('ERR_CNI_ENVIRONMENT', `CNI_COMMAND is "${command.slice(0, 80)}": it must be one of ${commands}`)
  }
  if (command === 'VERSION') return { kind: 'VERSION', cniVersion: cniVersionOf(stdin) }
  requireVariables(command, env)
  const config = parseNetworkConfig(stdin)
  if (!isAtLeast(config.cniVersion, since)) {
    throw new AppError('ERR_CNI_VERSION', `${command} needs cniVersion ${since} or newer, not ${config.cniVersion}`)
  }
  if (command === 'STATUS') return { kind: 'STATUS', config }
  if (command === 'GC') return gcRequest(config)
  return attachmentRequest(command, env, config)
}

/** The version that an answer about this input is written in; tolerates anything. */
export function cniVersionOf(stdin: string): string {
  try {
    const value: unknown = JSON.parse(stdin)
    const version = isJsonObject(value) ? value['cniVersion'] : undefined
    return typeof version === 'string' && version !== '' && version.length <= 32 ? version : newestCniVersion
  } catch {
    return newestCniVersion // SyntaxError: empty or bad input is no reason not to answer
  }
}

const requiredVariables: Readonly<Record<string, readonly string[]>> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
}

function requireVariables(command: string, env: CniEnv): void {
  const required = requiredVariables[command] ?? []
  const missing = required.filter((name) => (env[name] ?? '') === '')
  if (missing.length > 0) throw new AppError('ERR_CNI_ENVIRONMENT', `${command} needs ${missing.join(', ')}`)
  const containerId = env['CNI_CONTAINERID'] ?? ''
  if (required.includes('CNI_CONTAINERID') && !isCniName(containerId)) {
    throw new AppError('ERR_CNI_ENVIRONMENT', `CNI_CONTAINERID "${containerId.slice(0, 80)}" is not a container id`)
  }
  const ifname = env['CNI_IFNAME'] ?? ''
  if (required.includes('CNI_IFNAME') && !isInterfaceName(ifname)) {
    throw new AppError('ERR_CNI_ENVIRONMENT', `CNI_IFNAME "${ifname.slice(0, 80)}" is not an interface name`)
  }
}

/** Source: linux, net/core/dev.c, dev_valid_name; control and non-ASCII characters are refused too. */
function isInterfaceName(text: string): boolean {
  return /^[!-.0-9;-~]{1,15}$/.test(text) && text !== '.' && text !== '..' && !text.includes('%')
}

function attachmentRequest(command: string, env: CniEnv, config: NetworkConfig): CniRequest {
  const attachment = { containerId: env['CNI_CONTAINERID'] ?? '', ifname: env['CNI_IFNAME'] ?? '' }
  const netns = env['CNI_NETNS'] ?? ''
  // DEL looks at neither CNI_ARGS nor prevResult: whatever they are, the address must come back.
  if (command === 'DEL') return { kind: 'DEL', attachment, config, ...(netns === '' ? {} : { netns }) }
  const prevResult = parsePrevResult(config)
  if (command === 'ADD') {
    const wishes = wishesOf(config, parseCniArgs(env['CNI_ARGS'] ?? ''))
    return { kind: 'ADD', attachment, netns, wishes, config, ...(prevResult === undefined ? {} : { prevResult }) }
  }
  if (prevResult === undefined) {
    throw new AppError('ERR_CNI_CONFIG', 'CHECK needs the key "prevResult": the result that ADD answered')
  }
  return { kind: 'CHECK', attachment, netns, config, prevResult }
}

/** Source: CNI SPEC.md 1.1.0, section "GC". Libcni also sends the key `cni.dev/attachments`. */
function gcRequest(config: NetworkConfig): CniRequest {
  const keys = ['cni.dev/valid-attachments', 'cni.dev/attachments']
  const key = keys.find((name) => (config.raw[name] ?? undefined) !== undefined)
  if (key === undefined) return { kind: 'GC', config }
  const valid = objectsField(config.raw, key).map((entry) => {
    const containerId = stringField(entry, 'containerID')
    const ifname = stringField(entry, 'ifname')
    if (containerId === undefined || ifname === undefined) {
      throw new AppError('ERR_CNI_DECODE', `an entry of "${key}" lacks containerID or ifname: nothing was collected`)
    }
    return { containerId, ifname }
  })
  return { kind: 'GC', config, valid }
}
