import { accessSync, constants, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { AppError } from '../../base/errors.ts'

/** Servers that several masters of a local cluster can share. */
export const storeKinds = ['redis', 'zookeeper'] as const
/** One of them. */
export type StoreKind = (typeof storeKinds)[number]

/** A server to start: what to run, with which files in place, and where it then is. */
export interface StoreServerSpec {
  readonly file: string
  readonly args: readonly string[]
  /** Address for `--store`. */
  readonly url: string
}

/** Where the server listens and keeps its data. */
export interface StoreServerOptions {
  readonly directory: string
  readonly host: string
  readonly port: number
}

/** Default ports, IANA: no other server can be in a namespace of our own. */
export const storePorts = { redis: 6379, zookeeper: 2181 } as const

const packages = { redis: 'redis-server', zookeeper: 'zookeeper' } as const
const zooKeeperJar = '/usr/share/java/zookeeper.jar'

/** What this machine lacks to run that server; undefined when it lacks nothing. */
export function storeServerProblem(kind: StoreKind): string | undefined {
  const there = kind === 'redis' ? findProgram('redis-server') : existsSync(zooKeeperJar) && findProgram('java')
  if (there) return undefined
  return `${packages[kind]} is not installed: apt-get install -y --no-install-recommends ${packages[kind]}`
}

/**
 * Writes the settings into the server's folder: durable, as the adapters ask for it.
 * @throws ERR_CLI_STORE when the server is not installed
 */
export function storeServerSpec(kind: StoreKind, options: StoreServerOptions): StoreServerSpec {
  const problem = storeServerProblem(kind)
  if (problem !== undefined) throw new AppError('ERR_CLI_STORE', problem)
  mkdirSync(options.directory, { recursive: true, mode: 0o700 })
  return kind === 'redis' ? redisSpec(options) : zooKeeperSpec(options)
}

function redisSpec({ directory, host, port }: StoreServerOptions): StoreServerSpec {
  const file = join(directory, 'redis.conf')
  const lines = [
    `bind ${host}`,
    `port ${port}`,
    `dir ${directory}`,
    'protected-mode no',
    'daemonize no',
    'appendonly yes',
    'appendfsync always',
    'maxmemory-policy noeviction',
    'save ""',
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  return { file: findProgram('redis-server') ?? 'redis-server', args: [file], url: `redis://${host}:${port}` }
}

/** Short ticks: a session may last four of them at least, and a leader's end is noticed when its session ends. */
const tickMs = 250

function zooKeeperSpec({ directory, host, port }: StoreServerOptions): StoreServerSpec {
  const file = join(directory, 'zoo.cfg')
  const lines = [
    `clientPort=${port}`,
    `clientPortAddress=${host}`,
    `dataDir=${directory}`,
    `tickTime=${tickMs}`,
    'initLimit=20',
    'syncLimit=20',
    'maxClientCnxns=0',
    'admin.enableServer=false',
    '4lw.commands.whitelist=ruok,srvr,cons',
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  const java = ['-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Djava.awt.headless=true']
  const settings = ['-Dzookeeper.jmx.log4j.disable=true', '-Djava.security.egd=file:/dev/urandom']
  const main = 'org.apache.zookeeper.server.quorum.QuorumPeerMain'
  const args = [...java, ...settings, '-cp', `${directory}:${zooKeeperJar}`, main, file]
  writeFileSync(join(directory, 'log4j.properties'), log4j)
  return { file: findProgram('java') ?? 'java', args, url: `zk://${host}:${port}/weft` }
}

/** Warnings to standard error: who starts the server decides where that goes. */
const log4j = `log4j.rootLogger=WARN, CONSOLE
log4j.appender.CONSOLE=org.apache.log4j.ConsoleAppender
log4j.appender.CONSOLE.Target=System.err
log4j.appender.CONSOLE.layout=org.apache.log4j.PatternLayout
log4j.appender.CONSOLE.layout.ConversionPattern=%d{ISO8601} %-5p %c %m%n
`

function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/sbin']
  return folders
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false // ENOENT, EACCES: not in this folder
      }
    })
}
