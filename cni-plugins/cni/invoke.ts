import { AppError } from '../../core/base/errors.ts'
import { type NetworkList, type PluginConfig } from './config.ts'
import { cniCodes } from './errors.ts'
import { integerField, type JsonObject, parseJsonObject, stringField } from './json.ts'
import { type Attachment } from './request.ts'
import { formatCniResult } from './result-format.ts'
import { parseCniResult } from './result-parse.ts'
import { type CniResult, emptyCniResult } from './result.ts'
import { isAtLeast } from './version.ts'

/** One start of a plugin. */
export interface PluginCall {
  readonly path: string
  /** CNI_* variables; the runner adds its own environment. */
  readonly env: Readonly<Record<string, string>>
  readonly stdin: string
}

/** How it ended. */
export interface PluginExit {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** Finds and starts plugins: the effects that the runtime side needs. */
export interface PluginRunner {
  /** Colon-separated, for CNI_PATH. */
  readonly searchPath: string
  /** @throws ERR_CNI_PLUGIN_MISSING */
  find(type: string): Promise<string>
  run(call: PluginCall, options: { readonly signal: AbortSignal }): Promise<PluginExit>
}

/** An interface of a container, as a runtime describes it. */
export interface RuntimeAttachment extends Attachment {
  /** Path of the container's network namespace; absent only for DEL, when it is gone. */
  readonly netns?: string
  /** CNI_ARGS: `K=V;K=V`. */
  readonly args?: string
  /** By capability; each plugin gets those that it declares. */
  readonly capabilityArgs?: JsonObject
}

/** A network, a container on it, and what ADD answered where that is known. */
export interface AttachedNetwork {
  readonly list: NetworkList
  readonly attachment: RuntimeAttachment
  readonly prevResult?: CniResult
}

/** What every call takes last. */
export interface InvokeOptions {
  readonly signal: AbortSignal
}

/**
 * Attaches a container: runs the plugins of the list in order, each with the result of the one before. After a failure
 * the caller must {@link delNetwork}, as with any CNI runtime.
 * @returns the last plugin's result, to be kept for CHECK and DEL
 * @throws ERR_CNI_PLUGIN with `details.cniCode`; ERR_CNI_PLUGIN_MISSING
 */
export async function addNetwork(
  runner: PluginRunner,
  { list, attachment }: { readonly list: NetworkList; readonly attachment: RuntimeAttachment },
  options: InvokeOptions,
): Promise<CniResult> {
  let result: CniResult | undefined
  for (const plugin of list.plugins) {
    const call = { command: 'ADD', list, plugin, attachment, ...(result === undefined ? {} : { prevResult: result }) }
    const stdout = await callPlugin(runner, call, options)
    result = parseCniResult({ cniVersion: list.cniVersion, ...parseJsonObject(stdout, `the answer of ${plugin.type}`) })
  }
  return result ?? emptyCniResult
}

/**
 * Detaches a container: runs the plugins in reverse order. Idempotent. `prevResult` is what ADD answered, where known.
 * @throws ERR_CNI_PLUGIN, ERR_CNI_PLUGIN_MISSING
 */
export async function delNetwork(
  runner: PluginRunner,
  { list, attachment, prevResult }: AttachedNetwork,
  options: InvokeOptions,
): Promise<void> {
  // Source: libcni: DEL carries prevResult from 0.4.0.
  const carried = prevResult !== undefined && isAtLeast(list.cniVersion, '0.4.0') ? { prevResult } : {}
  for (const plugin of list.plugins.toReversed()) {
    await callPlugin(runner, { command: 'DEL', list, plugin, attachment, ...carried }, options)
  }
}

/**
 * Asks each plugin whether the container is still attached as `prevResult` says. Does nothing where the list disables it
 * or its version is older than 0.4.0.
 * @throws ERR_CNI_PLUGIN, ERR_CNI_PLUGIN_MISSING
 */
export async function checkNetwork(
  runner: PluginRunner,
  { list, attachment, prevResult }: AttachedNetwork & { readonly prevResult: CniResult },
  options: InvokeOptions,
): Promise<void> {
  if (list.checks === 'disabled' || !isAtLeast(list.cniVersion, '0.4.0')) return
  for (const plugin of list.plugins) {
    await callPlugin(runner, { command: 'CHECK', list, plugin, attachment, prevResult }, options)
  }
}

/**
 * Asks whether ADD would work now. Lists older than 1.1.0 are taken to be ready.
 * @throws ERR_CNI_PLUGIN with `details.cniCode` 50 or 51, ERR_CNI_PLUGIN_MISSING
 */
export async function networkStatus(runner: PluginRunner, list: NetworkList, options: InvokeOptions): Promise<void> {
  if (!isAtLeast(list.cniVersion, '1.1.0')) return
  for (const plugin of list.plugins) await callPlugin(runner, { command: 'STATUS', list, plugin }, options)
}

/**
 * Tells each plugin which attachments are alive; it frees the others. Every plugin is asked, then failures are thrown.
 * @throws AggregateError of ERR_CNI_PLUGIN
 */
export async function collectNetwork(
  runner: PluginRunner,
  { list, alive }: { readonly list: NetworkList; readonly alive: readonly Attachment[] },
  options: InvokeOptions,
): Promise<void> {
  if (list.gc === 'disabled' || !isAtLeast(list.cniVersion, '1.1.0')) return
  const failures: unknown[] = []
  for (const plugin of list.plugins) {
    await callPlugin(runner, { command: 'GC', list, plugin, alive }, options).catch((error) => failures.push(error))
  }
  if (failures.length > 0) throw new AggregateError(failures, `GC of network ${list.name} failed`)
}

/**
 * Runs another plugin with an environment and input as they are: how a plugin delegates.
 * @throws ERR_CNI_PLUGIN with `details.cniCode`, ERR_CNI_PLUGIN_MISSING
 */
export async function delegateCommand(
  runner: PluginRunner,
  { type, env, stdin }: { readonly type: string; readonly env: PluginCall['env']; readonly stdin: string },
  options: InvokeOptions,
): Promise<PluginExit> {
  const exit = await runner.run({ path: await runner.find(type), env, stdin }, options)
  if (exit.exitCode !== 0) throw pluginError(`CNI plugin ${type}: ${env['CNI_COMMAND']}`, type, exit)
  return exit
}

interface Invocation {
  readonly command: string
  readonly list: NetworkList
  readonly plugin: PluginConfig
  readonly attachment?: RuntimeAttachment
  readonly prevResult?: CniResult
  readonly alive?: readonly Attachment[]
}

async function callPlugin(runner: PluginRunner, invocation: Invocation, options: InvokeOptions): Promise<string> {
  const path = await runner.find(invocation.plugin.type)
  const call = { path, env: environmentOf(runner, invocation), stdin: JSON.stringify(configOf(invocation)) }
  const exit = await runner.run(call, options)
  const { command, plugin, list } = invocation
  const where = `CNI plugin ${plugin.type}: ${command} on network ${list.name}`
  if (exit.exitCode !== 0) throw pluginError(where, plugin.type, exit)
  return exit.stdout
}

function environmentOf(runner: PluginRunner, { command, attachment }: Invocation): Readonly<Record<string, string>> {
  const base = { CNI_COMMAND: command, CNI_PATH: runner.searchPath }
  if (attachment === undefined) return base
  return {
    ...base,
    CNI_CONTAINERID: attachment.containerId,
    CNI_IFNAME: attachment.ifname,
    CNI_NETNS: attachment.netns ?? '',
    CNI_ARGS: attachment.args ?? '',
  }
}

/** What the plugin reads. Source: CNI SPEC.md, section "Deriving request configuration from plugin configuration". */
function configOf({ list, plugin, attachment, prevResult, alive }: Invocation): JsonObject {
  const { capabilities: _declared, ...keys } = plugin.raw
  const wanted = Object.entries(attachment?.capabilityArgs ?? {}).filter(([key]) => plugin.capabilities.has(key))
  const valid = alive?.map(({ containerId, ifname }) => ({ containerID: containerId, ifname }))
  return {
    ...keys,
    name: list.name,
    cniVersion: list.cniVersion,
    ...(wanted.length === 0 ? {} : { runtimeConfig: Object.fromEntries(wanted) }),
    ...(prevResult === undefined ? {} : { prevResult: formatCniResult(prevResult, list.cniVersion) }),
    ...(valid === undefined ? {} : { 'cni.dev/valid-attachments': valid, 'cni.dev/attachments': valid }),
  }
}

function pluginError(where: string, plugin: string, exit: PluginExit): AppError {
  try {
    const body = parseJsonObject(exit.stdout, 'the error')
    const [cniCode, msg] = [integerField(body, 'code') ?? cniCodes.internal, stringField(body, 'msg') ?? '']
    const cniDetails = stringField(body, 'details')
    const text = cniDetails ? `${msg} (${cniDetails})` : msg
    return new AppError('ERR_CNI_PLUGIN', `${where}: ${text}`, { details: { cniCode, msg, plugin } })
  } catch (cause) {
    const output = (exit.stderr.trim() || exit.stdout.trim()).slice(-500) || 'no output'
    const details = { cniCode: cniCodes.internal, plugin }
    return new AppError('ERR_CNI_PLUGIN', `${where} exited with ${exit.exitCode}: ${output}`, { cause, details })
  }
}
