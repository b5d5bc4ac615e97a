import { mkdirSync, readFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { join } from 'node:path'
import { systemClock } from '../../core/base/clock.ts'
import { errorMessage } from '../../core/base/errors.ts'
import { openLog } from '../../core/base/log.ts'
import { type NamesConfig } from '../../discovery/records/config.ts'
import { parseNamesConfig } from '../../discovery/records/parse-config.ts'
import { openRouteSocket } from '../netlink/route-socket.ts'
import { openNames } from './names.ts'
import { type NetFlags, parseNetFlags } from './options.ts'

/**
 * Runs a node daemon until SIGTERM. Names are answered first: the threads of the DNS server start while the snapshot on disk
 * is read, and the rest of the daemon is loaded when they answer.
 * @throws ERR_NODE_OPTION, ERR_NAMES_CONFIG, ERR_DNS_LISTEN and what else keeps a daemon from starting
 */
export async function startDaemon(argv: readonly string[]): Promise<void> {
  const flags = parseNetFlags(argv)
  const log = openLog('net', flags.logLevel)
  const ending = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => ending.abort())
  mkdirSync(flags.stateDir, { recursive: true, mode: 0o700 })
  const routes = openRouteSocket({})
  const readDisk = async () => {
    const { openSnapshotCache } = await import('./cache.ts')
    const cache = openSnapshotCache({ file: join(flags.stateDir, 'snapshot'), clock: systemClock, log })
    return { cache, known: cache.load() }
  }
  const { stored, ...dns } = await openNames({ ...namesOptions(flags), routes, log, readDisk, onFailure: endProcess })
  const { runDaemon } = await import('./daemon.ts')
  // What was compiled for this start is kept for the next one, which may follow a SIGKILL.
  flushCompileCache()
  await runDaemon({ flags, log, signal: ending.signal, routes }, { ...stored, dns })
  log.info({}, 'node daemon ended; the kernel stays as it is')
}

/** @throws ERR_NAMES_CONFIG, ENOENT for --dns-config */
function namesOptions({ nodeName, dnsConfig, upstreams, forwardZones }: NetFlags) {
  const config: Partial<NamesConfig> = dnsConfig === undefined ? {} : parseNamesConfig(readFileSync(dnsConfig, 'utf8'))
  return { self: nodeName, config, forwardZones, ...(upstreams === undefined ? {} : { upstreams }) }
}

/** A node whose names are not answered must not look healthy: whoever supervises the daemon starts it again. */
function endProcess(error: unknown): void {
  process.stderr.write(`weft net: the DNS server failed: ${errorMessage(error)}\n`)
  process.exit(1)
}
