import { type Clock } from '../../core/base/clock.ts'
import { errorMessage } from '../../core/base/errors.ts'
import { ipFamily, parseIp } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { objectOf, textOf } from './json.ts'

/** A session with ZooKeeper, as far as it is needed here: core/store/zookeeper-client.ts has it. */
export interface ElectionReader {
  /** Aborts when the session is over. */
  readonly ended: AbortSignal
  get(path: string): Promise<{ readonly data: string } | undefined>
  /** `onChange` is called once, at the next change. */
  children(path: string, onChange: () => void): Promise<readonly string[] | undefined>
  close(): void
}

/** What following an election needs. */
export interface ElectionOptions {
  /** Opens a session. */
  readonly open: (options: { readonly signal: AbortSignal }) => Promise<ElectionReader>
  /** Folder of the election: `/mesos`. */
  readonly folder: string
  readonly clock: Clock
  readonly log: Logger
}

/** Who leads, as ZooKeeper says. */
export interface LeaderWatch {
  /** Base URL of the leading master; `undefined`: none is known yet. */
  current(): string | undefined
  /** Calls when another leads. @returns what ends that */
  onChange(told: () => void): () => void
}

/** Before a session is opened again. */
const retryMs = 1_000

/** The contender's node that leads: the lowest number. Source: mesos, src/master/contender/zookeeper.cpp, label "json.info". */
export function leadingNode(children: readonly string[]): string | undefined {
  const number = (name: string) => Number(/^json\.info_(\d+)$/.exec(name)?.[1] ?? Number.NaN)
  const contenders = children.filter((name) => !Number.isNaN(number(name)))
  return contenders.toSorted((a, b) => number(a) - number(b))[0]
}

/** Base URL of a master by its node's MasterInfo; `undefined`: it says no address. Source: mesos, message MasterInfo. */
export function parseMasterInfo(json: string): string | undefined {
  const { address, pid } = objectOf(JSON.parse(json))
  const { ip, hostname, port } = objectOf(address)
  const number = Number(port)
  const host = textOf(ip) === '' ? textOf(hostname) : textOf(ip)
  if (host !== '' && number > 0 && number < 65_536) return `http://${bracketed(host)}:${number}`
  const [, place] = textOf(pid).split('@') // masters before 1.0 have no `address`
  return place === undefined || !URL.canParse(`http://${place}`) ? undefined : `http://${place}`
}

function bracketed(host: string): string {
  try {
    return ipFamily(parseIp(host)) === 6 ? `[${host}]` : host
  } catch {
    return host // ERR_IP_INVALID: it is a name
  }
}

/** Follows the election until aborted. While ZooKeeper does not answer, or nobody leads, the last leader stays. */
export function watchLeader(options: ElectionOptions, { signal }: { readonly signal: AbortSignal }): LeaderWatch {
  const told = new Set<() => void>()
  let leader: string | undefined
  const found = (url: string) => {
    if (url === leader) return
    leader = url
    options.log.info({ master: url }, 'ZooKeeper names the leader')
    for (const tell of told) tell()
  }
  void followElection(options, { found, signal })
  return {
    current: () => leader,
    onChange: (tell) => {
      told.add(tell)
      return () => told.delete(tell)
    },
  }
}

interface Following {
  readonly found: (url: string) => void
  readonly signal: AbortSignal
}

async function followElection(options: ElectionOptions, following: Following): Promise<void> {
  const { clock, log } = options
  const { signal } = following
  while (!signal.aborted) {
    try {
      await followSession(options, following)
    } catch (error) {
      if (!signal.aborted) log.warn({ reason: errorMessage(error) }, 'ZooKeeper does not tell the leader')
    }
    await clock.sleep(retryMs, { signal }).catch(() => undefined) // AbortError: the loop sees it
  }
}

/** Until the session ends. */
async function followSession({ open, folder, log }: ElectionOptions, { found, signal }: Following): Promise<void> {
  const session = await open({ signal })
  try {
    const over = AbortSignal.any([signal, session.ended])
    while (!over.aborted) {
      const changed = Promise.withResolvers<void>()
      over.addEventListener('abort', () => changed.resolve(), { once: true })
      const children = await session.children(folder, changed.resolve)
      const node = leadingNode(children ?? [])
      const info = node === undefined ? undefined : await session.get(`${folder}/${node}`)
      const url = info === undefined ? undefined : readMaster(info.data, log)
      if (url !== undefined) found(url)
      // A folder that is not there can't be watched by its children.
      if (children === undefined) return
      await changed.promise
    }
  } finally {
    session.close()
  }
}

function readMaster(data: string, log: Logger): string | undefined {
  try {
    return parseMasterInfo(data)
  } catch (error) {
    log.warn({ reason: errorMessage(error) }, "the leader's node in ZooKeeper makes no sense")
    return undefined
  }
}
