import { join } from 'node:path'
import { formatWeftConflist } from '../../../cni-plugins/cni/conflist.ts'
import { ipamPluginType } from '../../../networking/node/cni-deps.ts'
import { buildCniClient } from '../../../cni-plugins/weft/build.mjs'
import { AppError } from '../../base/errors.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { cniBinDirectory, cniSocket } from '../up/processes.ts'
import { recordsOf } from '../up/sample.ts'
import { type CniFile, installCniFiles, listOwnCniFiles, removeCniFiles } from './cni-files.ts'
import { targetApi, targetLayout } from './target.ts'

/** Where runtimes look for plugins and networks. */
export interface CniFolders {
  readonly binDir: string
  readonly confDir: string
}

/** What `weft cni install` is told. */
export type CniInstallOptions = GlobalOptions &
  CniFolders & {
    /** The node daemon's socket; else that of `host`, or of the first host with an agent. */
    readonly socket?: string
    readonly host?: string
  }

const head = ['WHAT', 'FILE', 'REASON']

/**
 * `weft cni install`: the plugin under both of its names, and a configuration list for each network of the cluster. All
 * files are looked at before the first is written. @throws ERR_CLI_CNI_FOREIGN, ERR_CLI_CNI_FILE, ERR_CLI_USAGE
 */
export async function installCni(options: CniInstallOptions): Promise<void> {
  const socket = socketOf(options)
  const networks = await recordsOf(targetApi(options), '/weft/v1/networks', 'networks')
  buildCniClient()
  const plugin = { kind: 'copy', source: join(cniBinDirectory, 'weft') } as const
  const wanted: readonly CniFile[] = [
    { path: join(options.binDir, 'weft'), content: plugin },
    { path: join(options.binDir, ipamPluginType), content: plugin },
    ...networks.map(({ name }) => ({
      path: join(options.confDir, conflistName(String(name))),
      content: { kind: 'text', text: formatWeftConflist(String(name), socket) } as const,
    })),
  ]
  const stale = listOwnCniFiles([options.confDir]).filter((path) => wanted.every((file) => file.path !== path))
  const changes = [...installCniFiles(wanted), ...removeCniFiles(stale)]
  const rows = changes.map(({ action, path, reason = '' }) => [action, path, reason])
  print({ socket, changes }, () => formatTable(head, rows), options)
}

/** `weft cni uninstall`: removes what {@link installCni} wrote, and nothing else. @throws ERR_CLI_CNI_FILE */
export async function uninstallCni(options: GlobalOptions & CniFolders): Promise<void> {
  const changes = removeCniFiles(listOwnCniFiles([options.binDir, options.confDir]))
  const rows = changes.map(({ action, path, reason = '' }) => [action, path, reason])
  const none = `nothing of ours in ${options.binDir} and ${options.confDir}`
  print({ changes }, () => (rows.length === 0 ? none : formatTable(head, rows)), options)
}

/** Runtimes take the first list by name where none is asked for: ours leaves room before it. */
function conflistName(network: string): string {
  return `50-weft-${network}.conflist`
}

function socketOf(options: CniInstallOptions): string {
  if (options.socket !== undefined) {
    if (options.socket.startsWith('/')) return options.socket
    throw new AppError('ERR_CLI_USAGE', `--socket "${options.socket}" is not an absolute path`)
  }
  // A master elsewhere: then this is a real machine, whose daemon listens where the plugin looks by itself.
  if (options.master !== undefined) return '/run/weft/net.sock'
  const { hosts } = targetLayout(options)
  const host = hosts.find(({ name, kind }) => (options.host === undefined ? kind === 'agent' : name === options.host))
  if (host !== undefined) return cniSocket(host)
  const names = hosts.map(({ name }) => name).join(', ')
  throw new AppError('ERR_CLI_USAGE', `no host "${options.host ?? 'agent1'}": one of ${names}`)
}
