import { AppError } from '../../base/errors.ts'
import { parseDirectRouting } from '../../../networking/node/options.ts'
import { type GlobalOptions } from '../program.ts'
import { sampleNetworks } from '../sample/apps.ts'
import { type LocalCluster, startCluster } from '../up/cluster.ts'
import { type StoreKind, storeKinds } from '../up/store-server.ts'
import { sampleReport } from '../up/report.ts'
import { isAlive, readClusterRecord } from '../up/record.ts'
import { deploySample } from '../up/sample.ts'
import { verify } from '../up/verify.ts'
import { detach, isDetachedChild, tellParent } from './detach.ts'
import { requireRoot } from './privilege.ts'

/** Options of `weft up`, as commander gives them. */
export interface UpOptions extends GlobalOptions {
  readonly agents: string
  readonly port: string
  readonly detach: boolean
  readonly sample: boolean
  readonly verify: boolean
  readonly directRouting: string
  readonly masters: string
  readonly store: string
  readonly dockerHost?: string
}

/** `weft up`: runs until Ctrl-C, or returns at once when detached, or after the checks with --verify. */
export async function up(options: UpOptions): Promise<void> {
  requireRoot('up')
  const agents = parseCount('--agents', options.agents, 1, 200)
  const masters = parseCount('--masters', options.masters, 1, 5)
  const store = parseStore(options.store)
  const port = parseCount('--port', options.port, 0, 65_535)
  refuseSecond(options.cluster)
  if (options.detach && !isDetachedChild()) return detach(process.argv)
  const started = performance.now()
  const progress = (text: string) => tell(`[${((performance.now() - started) / 1000).toFixed(1)} s] ${text}`)
  const directRouting = parseDirectRouting(options.directRouting)
  const size = { name: options.cluster, agents, masters, ...(store === undefined ? {} : { store }) }
  const docker = options.dockerHost === undefined ? {} : { dockerHost: options.dockerHost }
  const settings = { ...size, port, networks: sampleNetworks, directRouting, progress, ...docker }
  if (options.verify) {
    process.exitCode = (await verify(settings, options)) ? 0 : 1
    return
  }
  const interrupt = interruption()
  const cluster = await startCluster(settings)
  try {
    if (options.sample) await showSample(cluster, progress, agents)
    else tell(`try: weft node list; weft app add FILE; weft --help. Ctrl-C or \`weft down\` removes everything.`)
    tellParent({ ready: true })
    await interrupt
    progress('removing everything')
  } finally {
    await cluster.stop()
  }
}

async function showSample(cluster: LocalCluster, progress: (text: string) => void, agents: number): Promise<void> {
  progress('deploying the sample: web (behind a VIP) and client (calls it by name)')
  await deploySample(cluster.api, agents)
  progress('the sample is deployed, and every node has it')
  process.stdout.write(`${await sampleReport(cluster)}\n`)
  tellParent({ report: await sampleReport(cluster) })
}

/** Resolves at Ctrl-C or SIGTERM. A second one is not needed: teardown is bounded. */
function interruption(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve())
  })
}

function refuseSecond(cluster: string): void {
  const record = readClusterRecord(cluster)
  if (record === undefined || !isAlive(record.supervisor)) return
  throw new AppError(
    'ERR_CLI_RUNNING',
    `cluster "${cluster}" is up already (API on ${record.api}); \`weft down\` removes it, --cluster NAME makes another`,
  )
}

function parseCount(option: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value <= max) return value
  throw new AppError('ERR_CLI_USAGE', `${option} takes a whole number from ${min} to ${max}, not "${text}"`)
}

/** SQLite is no server: undefined. */
function parseStore(text: string): StoreKind | undefined {
  if (text === 'sqlite') return undefined
  const kind = storeKinds.find((each) => each === text)
  if (kind !== undefined) return kind
  throw new AppError('ERR_CLI_USAGE', `--store is sqlite, ${storeKinds.join(' or ')}, not "${text}"`)
}

function tell(text: string): void {
  process.stderr.write(`${text}\n`)
  tellParent({ progress: text })
}
