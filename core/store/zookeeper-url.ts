import { AppError } from '../base/errors.ts'

/** Where the servers are, and how they are used. */
export interface ZooKeeperTarget {
  /** For messages: without user and password. */
  readonly label: string
  /** `host:port,host:port` */
  readonly hosts: string
  /** Folder of everything, without a slash at its end. */
  readonly base: string
  /** `user:password` of the digest scheme. */
  readonly auth: string | undefined
  /** What is asked for; the server has its own limits, 2 to 20 ticks by default. */
  readonly sessionMs: number
  /** Largest request the servers take: their jute.maxbuffer, 1 MB by default. */
  readonly maxRequestBytes: number
}

const defaultBase = '/weft'
const defaultSessionMs = 1_500

/** jute.maxbuffer less what a request says besides its steps. */
const defaultMaxRequestBytes = 1_000_000

/**
 * `zk://[user:password@]host[:port][,host…][/folder][?session=MS&maxRequest=BYTES]`
 * @throws ERR_STORE_URL
 */
export function parseZooKeeperUrl(text: string): ZooKeeperTarget {
  const match = /^zk:\/\/(?:([^@/]+)@)?([^/?@]+)(\/[^?]*)?(?:\?(.*))?$/.exec(text)
  const [, auth, hosts = '', folder = '', query = ''] = match ?? []
  if (match === null || !hosts.split(',').every((host) => /^[\w.-]+(:\d{1,5})?$/.test(host))) {
    throw urlError('zk://[user:password@]host[:port][,host…][/folder] expected; IPv6 hosts by name')
  }
  const base = folder.replace(/\/+$/, '') || defaultBase
  if (!/^(\/[\w.-]*\w[\w.-]*)+$/.test(base)) throw urlError(`"${base}" is no folder`)
  const settings = new URLSearchParams(query)
  const unknown = [...settings.keys()].find((name) => !['session', 'maxRequest'].includes(name))
  if (unknown !== undefined) throw urlError(`unknown setting "${unknown}"; known are session, maxRequest`)
  return {
    ...{ label: `zk://${hosts}${base}`, hosts, base },
    auth: auth === undefined ? undefined : decodeURIComponent(auth),
    sessionMs: numberOf(settings, 'session', defaultSessionMs),
    maxRequestBytes: numberOf(settings, 'maxRequest', defaultMaxRequestBytes),
  }
}

function numberOf(settings: URLSearchParams, name: string, otherwise: number): number {
  const text = settings.get(name)
  const value = text === null ? otherwise : Number(text)
  if (!Number.isInteger(value) || value < 100) throw urlError(`${name} is a number, 100 or more`)
  return value
}

function urlError(message: string): AppError {
  return new AppError('ERR_STORE_URL', `address of the store: ${message}`)
}
