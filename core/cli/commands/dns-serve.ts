import { readFileSync } from 'node:fs'
import { AppError } from '../../base/errors.ts'
import { openLog } from '../../base/log.ts'
import { parseStandaloneConfig, type StandaloneConfig } from '../../../discovery/standalone/config.ts'
import { openStandalone, parsePlace, type Place, type Standalone } from '../../../discovery/standalone/main.ts'
import { type GlobalOptions } from '../program.ts'
import { version } from '../version.ts'

/** Options of `weft dns serve`. */
export interface DnsServeOptions {
  readonly mesos?: string
  readonly config?: string
  readonly listen?: string
  readonly http?: string
}

/** `weft dns serve`: Mesos-DNS for a Mesos cluster. Runs until SIGINT or SIGTERM. */
export async function dnsServe(globals: GlobalOptions & DnsServeOptions): Promise<void> {
  const config = parseStandaloneConfig(globals.config === undefined ? undefined : readFileSync(globals.config, 'utf8'))
  const log = openLog('dns', 'info')
  for (const warning of config.warnings) log.warn({ file: globals.config, warning }, 'a setting does nothing')
  const found = leadingPlaces(globals, config)
  const listen = listenPlaces(globals, config)
  const http = httpPlace(globals, config)
  const ended = new Promise<void>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve())
  })
  const server = await openStandalone({ config, ...found, listen, version: version(), log, ...http })
  process.stdout.write(`${JSON.stringify(placesOf(server, http.http))}\n`)
  await ended
  await server.close()
}

/** Where it answers, as one line of JSON: for scripts that let it choose ports. */
function placesOf({ dns, httpPort }: Standalone, http: Place | undefined) {
  const at = ({ address, port }: Place) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`)
  if (http === undefined || httpPort === undefined) return { dns: dns.map(at) }
  return { dns: dns.map(at), http: at({ address: http.address, port: httpPort }) }
}

/** `--mesos` before what the file says: `zk://…`, or URLs of masters. */
function leadingPlaces(
  { mesos }: DnsServeOptions,
  config: StandaloneConfig,
): { readonly masters: readonly string[]; readonly zk?: string } {
  if (mesos?.startsWith('zk://')) return { masters: [], zk: mesos }
  const given = mesos?.split(',').filter((url) => url !== '') ?? config.masters
  const masters = given.map((url) => (/^https?:\/\//.test(url) ? url : `http://${url}`))
  const broken = masters.find((url) => !URL.canParse(url))
  if (broken !== undefined) throw new AppError('ERR_CLI_USAGE', `"${broken}" is no URL like http://192.0.2.1:5050`)
  if (mesos === undefined && config.zk !== '') return { masters, zk: config.zk }
  if (masters.length > 0) return { masters }
  const how = 'write --mesos http://HOST:PORT or --mesos zk://HOST:PORT/mesos, or "masters" or "zk" in the file'
  throw new AppError('ERR_CLI_USAGE', `no Mesos master is named: ${how}`)
}

function listenPlaces({ listen }: DnsServeOptions, config: StandaloneConfig): readonly Place[] {
  if (listen !== undefined) return listen.split(',').map(parsePlace)
  return config.dns === 'off' ? [] : [{ address: config.listener, port: config.port }]
}

/** Without a file, HTTP is served only where it is asked for. */
function httpPlace({ http, config: file }: DnsServeOptions, config: StandaloneConfig): { readonly http?: Place } {
  if (http !== undefined) return { http: parsePlace(http) }
  if (file === undefined || config.http === 'off') return {}
  return { http: { address: config.listener, port: config.httpPort } }
}
