import { AppError } from '../../core/base/errors.ts'
import {
  flagField,
  type JsonObject,
  objectField,
  objectsField,
  parseJsonObject,
  stringField,
  stringsField,
} from './json.ts'
import { parseCniResult } from './result-parse.ts'
import { type CniResult } from './result.ts'
import { type CniVersion, cniVersions, parseCniVersion } from './version.ts'

/** What a plugin reads from standard input. Unknown keys stay in `raw`. */
export interface NetworkConfig {
  readonly cniVersion: CniVersion
  readonly name: string
  /** What a runtime says for capabilities that the configuration declares. */
  readonly runtimeConfig: JsonObject
  /** `args.cni`: overrides CNI_ARGS. */
  readonly cniArgs: JsonObject
  readonly raw: JsonObject
}

/** One plugin of a list. */
export interface PluginConfig {
  readonly type: string
  /** Keys of `runtimeConfig` that it wants. */
  readonly capabilities: ReadonlySet<string>
  readonly raw: JsonObject
}

/** A network as a runtime is configured with it. */
export interface NetworkList {
  readonly cniVersion: CniVersion
  readonly name: string
  readonly checks: 'enabled' | 'disabled'
  readonly gc: 'enabled' | 'disabled'
  readonly plugins: readonly PluginConfig[]
}

/** Network names and container ids. Source: CNI SPEC.md, section "Parameters". */
const namePattern = /^[A-Za-z0-9][\w.-]*$/

/** True for what the specification allows as a network name or a container id, up to 255 characters. */
export function isCniName(text: string): boolean {
  return text.length <= 255 && namePattern.test(text)
}

/**
 * The configuration that a plugin is given.
 * @throws ERR_CNI_DECODE, ERR_CNI_VERSION, ERR_CNI_CONFIG when the name is missing or not allowed
 */
export function parseNetworkConfig(text: string): NetworkConfig {
  const raw = parseJsonObject(text, 'the network configuration on standard input')
  const args = objectField(raw, 'args') ?? {}
  return {
    cniVersion: parseCniVersion(raw['cniVersion']),
    name: parseName(raw),
    runtimeConfig: objectField(raw, 'runtimeConfig') ?? {},
    cniArgs: objectField(args, 'cni') ?? {},
    raw,
  }
}

/**
 * The result of the plugins before this one, or of the ADD that a CHECK is about.
 * @returns undefined when the key is absent @throws ERR_CNI_DECODE, ERR_CNI_VERSION
 */
export function parsePrevResult(config: NetworkConfig): CniResult | undefined {
  const previous = objectField(config.raw, 'prevResult')
  return previous === undefined ? undefined : parseCniResult({ cniVersion: config.cniVersion, ...previous })
}

/**
 * A network configuration list, or a single configuration as a list of one.
 * @throws ERR_CNI_DECODE, ERR_CNI_VERSION, ERR_CNI_CONFIG
 */
export function parseNetworkList(text: string): NetworkList {
  const raw = parseJsonObject(text, 'the network configuration')
  const plugins = raw['plugins'] === undefined ? [raw] : objectsField(raw, 'plugins')
  if (plugins.length === 0)
    throw new AppError('ERR_CNI_CONFIG', 'the list "plugins" is empty: name at least one plugin')
  return {
    cniVersion: listVersion(raw),
    name: parseName(raw),
    checks: flagField(raw, 'disableCheck') ? 'disabled' : 'enabled',
    gc: flagField(raw, 'disableGC') ? 'disabled' : 'enabled',
    plugins: plugins.map(parsePlugin),
  }
}

/** From 1.1.0 a list may name several versions; the newest that is known is used. */
function listVersion(raw: JsonObject): CniVersion {
  const offered = stringsField(raw, 'cniVersions')
  if (offered.length === 0) return parseCniVersion(raw['cniVersion'])
  const candidates = [...offered, ...((stringField(raw, 'cniVersion') ?? '') ? [stringField(raw, 'cniVersion')] : [])]
  return cniVersions.findLast((version) => candidates.includes(version)) ?? parseCniVersion(offered[0])
}

function parsePlugin(raw: JsonObject): PluginConfig {
  const type = stringField(raw, 'type') ?? ''
  if (!isCniName(type)) {
    throw new AppError('ERR_CNI_CONFIG', `plugin type "${type.slice(0, 80)}" is not the name of an executable`)
  }
  const capabilities = Object.entries(objectField(raw, 'capabilities') ?? {})
  return { type, capabilities: new Set(capabilities.filter(([, wanted]) => wanted === true).map(([key]) => key)), raw }
}

function parseName(raw: JsonObject): string {
  const name = stringField(raw, 'name') ?? ''
  if (isCniName(name)) return name
  const rule = 'letters, digits, ".", "_" and "-", not starting with punctuation'
  throw new AppError('ERR_CNI_CONFIG', `key "name": "${name.slice(0, 80)}" is not a network name: ${rule}`)
}
