import { isCniName } from '../../cni-plugins/cni/config.ts'
import { delegateCommand, type PluginRunner } from '../../cni-plugins/cni/invoke.ts'
import { parseJsonObject } from '../../cni-plugins/cni/json.ts'
import { type CniResult } from '../../cni-plugins/cni/result.ts'
import { parseCniResult } from '../../cni-plugins/cni/result-parse.ts'
import { type CniVersion } from '../../cni-plugins/cni/version.ts'
import { AppError } from '../../core/base/errors.ts'
import { type DelegatedCall } from '../ipam/lease.ts'
import { type CniCall } from './cni-frame.ts'
import { type CniDeps } from './cni-deps.ts'

/** Longest run of another plugin before it is killed, in milliseconds: less than the client waits for us. */
const timeoutMs = 45_000

/**
 * What another IPAM plugin is called with: the caller's environment and configuration, as the specification asks (CNI
 * SPEC.md, section "Delegated plugins").
 * @throws ERR_CNI_FIELD when the type is no executable's name
 */
export function delegatedCall(type: string, { env, stdin }: CniCall): DelegatedCall {
  if (isCniName(type)) return { type, env, stdin }
  const shown = type.slice(0, 80)
  throw new AppError('ERR_CNI_FIELD', `key "ipam.type": "${shown}" is not the name of an executable; leave "ipam" out`)
}

/**
 * Makes sure that the plugin is there, before anything is changed.
 * @throws ERR_CNI_PLUGIN_MISSING, ERR_CNI_FIELD where none may be run
 */
export async function findDelegate(deps: CniDeps, call: DelegatedCall): Promise<void> {
  await runnerOf(deps, call).find(call.type)
}

function runnerOf(deps: CniDeps, { type, env }: DelegatedCall): PluginRunner {
  const directories = (env['CNI_PATH'] ?? '').split(':').filter((directory) => directory.startsWith('/'))
  if (deps.plugins !== undefined && directories.length > 0) return deps.plugins(directories)
  const advice = 'name its folder in CNI_PATH, or leave "ipam" out'
  throw new AppError('ERR_CNI_FIELD', `key "ipam.type": "${type}" cannot be run: ${advice}`)
}

/**
 * Runs another IPAM plugin, found in the caller's CNI_PATH.
 * @throws ERR_CNI_PLUGIN with the plugin's own `cniCode`, ERR_CNI_PLUGIN_MISSING, ERR_CNI_FIELD where none may be run
 */
export async function runDelegate(deps: CniDeps, call: DelegatedCall, command: string): Promise<string> {
  const { type, env, stdin } = call
  const exit = await delegateCommand(
    runnerOf(deps, call),
    { type, env: { ...env, CNI_COMMAND: command }, stdin },
    { signal: AbortSignal.timeout(timeoutMs) },
  )
  const stderr = exit.stderr.trim().slice(0, 2000)
  if (stderr !== '') deps.log.info({ type, command, stderr }, 'IPAM plugin said')
  return exit.stdout
}

/** The addresses that another IPAM plugin gives. @throws as {@link runDelegate}, and ERR_CNI_DECODE */
export async function askDelegate(deps: CniDeps, call: DelegatedCall, version: CniVersion): Promise<CniResult> {
  const object = parseJsonObject(await runDelegate(deps, call, 'ADD'), `the answer of ${call.type}`)
  const result = parseCniResult({ cniVersion: version, ...object })
  if (result.ips.length > 0) return result
  throw new AppError('ERR_CNI_DECODE', `the answer of ${call.type} has no address`)
}
