import { lstatSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'
import { parseIp } from '../../base/ip.ts'
import { dnsAddress } from '../../../networking/protocol.ts'
import { parseName } from '../../../discovery/dns/name.ts'
import { queryDns } from '../../../discovery/dns/query.ts'
import { print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { formatResolvConf } from '../up/resolv.ts'

/** Options of `weft dns install` and `uninstall`. */
export interface ResolverOptions extends GlobalOptions {
  readonly file: string
  readonly force: boolean
}

/** First line of a file that is ours; the second says whether there was one before. */
const mark = '# written by weft dns install; weft dns uninstall puts back what was here\n'
const nothingBefore = '# there was no file before\n'

/** Where the machine's own file waits: beside it, so that a rename moves whatever it is, a symbolic link too. */
function asideOf(file: string): string {
  return `${file}.before-weft`
}

/**
 * Sets the file aside by renaming and writes one that asks the node's name server.
 * @throws ERR_CLI_RESOLVER when it is installed already, or the server does not answer; nothing is changed then
 */
export async function installResolver(options: ResolverOptions): Promise<void> {
  const { file } = options
  if (exists(asideOf(file)) || isOurs(file)) {
    throw new AppError('ERR_CLI_RESOLVER', `${file} is installed already: weft dns uninstall puts the old one back`)
  }
  if (!options.force) await refuseSilentServer()
  const before = exists(file)
  guard(file, () => {
    if (before) renameSync(file, asideOf(file))
    writeFileSync(file, `${mark}${before ? '' : nothingBefore}${formatResolvConf()}`, { mode: 0o644 })
  })
  print({ file, nameserver: dnsAddress }, () => `${file} asks ${dnsAddress}; the old one is ${asideOf(file)}`, options)
}

/**
 * Puts the file back that install set aside, whatever it was.
 * @throws ERR_CLI_RESOLVER when the present one is not ours; nothing is changed then
 */
export async function uninstallResolver(options: ResolverOptions): Promise<void> {
  const { file, force } = options
  const aside = exists(asideOf(file))
  if (!aside && !isOurs(file)) throw new AppError('ERR_CLI_RESOLVER', `${file} is not installed; nothing to put back`)
  if (!isOurs(file) && !force) {
    throw new AppError('ERR_CLI_RESOLVER', `${file} was changed since: --force puts ${asideOf(file)} in its place`)
  }
  guard(file, () => {
    if (aside) renameSync(asideOf(file), file)
    else rmSync(file)
  })
  print({ file, restored: aside }, () => (aside ? `${file} is as it was` : `${file} is gone, as before`), options)
}

/** `ready.spartan` is what DC/OS waits for before it points a machine at its node's server (reference/dns-proxy.md). */
async function refuseSilentServer(): Promise<void> {
  const question = { server: parseIp(dnsAddress), name: parseName('ready.spartan'), type: 1, timeoutMs: 1_000 }
  const { answers } = await queryDns({ ...question, signal: new AbortController().signal }).catch((error: unknown) => {
    throw new AppError(
      'ERR_CLI_RESOLVER',
      `${dnsAddress} does not answer here (${errorMessage(error)}): is weft net up?`,
    )
  })
  if (answers.length === 0) throw new AppError('ERR_CLI_RESOLVER', `${dnsAddress} is not ready: try again, or --force`)
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

function isOurs(file: string): boolean {
  return exists(file) && !lstatSync(file).isSymbolicLink() && readFileSync(file, 'utf8').startsWith(mark)
}

function guard(file: string, change: () => void): void {
  try {
    change()
  } catch (error) {
    const busy = hasCode(error, 'EBUSY') ? ' (it is a mount: change what is mounted there)' : ''
    throw new AppError('ERR_CLI_RESOLVER', `can't change ${file}: ${errorMessage(error)}${busy}`, { cause: error })
  }
}
