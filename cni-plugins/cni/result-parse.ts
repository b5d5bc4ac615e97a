import { AppError } from '../../core/base/errors.ts'
import { cidrOf } from '../../core/base/cidr.ts'
import { familyBits, type Ip, ipFamily, parseIp } from '../../core/base/ip.ts'
import { integerField, type JsonObject, objectField, objectsField, stringField, stringsField } from './json.ts'
import { type CniDns, type CniInterface, type CniIp, type CniResult, type CniRoute } from './result.ts'
import { isAtLeast, parseCniVersion } from './version.ts'

/**
 * A result in the version that it says it is in. Unknown keys are dropped.
 * @throws ERR_CNI_DECODE for wrong types and impossible addresses; ERR_CNI_VERSION
 */
export function parseCniResult(object: JsonObject): CniResult {
  const version = parseCniVersion(object['cniVersion'])
  const dns = parseDns(objectField(object, 'dns') ?? {})
  if (!isAtLeast(version, '0.3.0')) return { interfaces: [], dns, ...parseOldAddresses(object) }
  const interfaces = objectsField(object, 'interfaces').map(parseInterface)
  const ips = objectsField(object, 'ips').map((ip) => parseIpEntry(ip, interfaces.length))
  return { interfaces, ips, routes: objectsField(object, 'routes').map(parseRoute), dns }
}

/** Versions 0.1.0 and 0.2.0: one address of each family, with its routes. */
function parseOldAddresses(object: JsonObject): { ips: readonly CniIp[]; routes: readonly CniRoute[] } {
  const entries = [objectField(object, 'ip4'), objectField(object, 'ip6')].filter((entry) => entry !== undefined)
  return {
    ips: entries.map((entry) => {
      const gateway = optionalIp(entry, 'gateway')
      return { ...parseAddress(required(entry, 'ip')), ...(gateway === undefined ? {} : { gateway }) }
    }),
    routes: entries.flatMap((entry) => objectsField(entry, 'routes').map(parseRoute)),
  }
}

function parseInterface(object: JsonObject): CniInterface {
  const mac = stringField(object, 'mac')
  const mtuBytes = integerField(object, 'mtu')
  const sandbox = stringField(object, 'sandbox')
  const socketPath = stringField(object, 'socketPath')
  const pciId = stringField(object, 'pciID')
  return {
    name: required(object, 'name'),
    ...(mac ? { mac } : {}),
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
    ...(sandbox ? { sandbox } : {}),
    ...(socketPath ? { socketPath } : {}),
    ...(pciId ? { pciId } : {}),
  }
}

function parseIpEntry(object: JsonObject, interfaces: number): CniIp {
  const gateway = optionalIp(object, 'gateway')
  const index = integerField(object, 'interface')
  if (index !== undefined && (index < 0 || index >= interfaces)) {
    throw new AppError('ERR_CNI_DECODE', `ips[].interface ${index} is not an index of interfaces`)
  }
  return {
    ...parseAddress(required(object, 'address')),
    ...(gateway === undefined ? {} : { gateway }),
    ...(index === undefined ? {} : { interface: index }),
  }
}

function parseRoute(object: JsonObject): CniRoute {
  const { address, prefixLength } = parseAddress(required(object, 'dst'))
  const gateway = optionalIp(object, 'gw')
  const numbers = {
    mtuBytes: integerField(object, 'mtu'),
    advmssBytes: integerField(object, 'advmss'),
    priority: integerField(object, 'priority'),
    table: integerField(object, 'table'),
    scope: integerField(object, 'scope'),
  }
  return {
    // Host bits are dropped, as Go's net.IPNet does.
    destination: cidrOf(address, prefixLength),
    ...(gateway === undefined ? {} : { gateway }),
    ...definedNumbers(numbers),
  }
}

function definedNumbers(numbers: Readonly<Record<string, number | undefined>>): Readonly<Record<string, number>> {
  const defined: Record<string, number> = {}
  for (const [key, value] of Object.entries(numbers)) if (value !== undefined) defined[key] = value
  return defined
}

function parseDns(object: JsonObject): CniDns {
  const domain = stringField(object, 'domain')
  return {
    nameservers: stringsField(object, 'nameservers'),
    ...(domain ? { domain } : {}),
    search: stringsField(object, 'search'),
    options: stringsField(object, 'options'),
  }
}

function required(object: JsonObject, key: string): string {
  const value = stringField(object, key)
  if (value !== undefined && value !== '') return value
  throw new AppError('ERR_CNI_DECODE', `key "${key}" is missing`)
}

function optionalIp(object: JsonObject, key: string): Ip | undefined {
  const text = stringField(object, key)
  return text === undefined || text === '' ? undefined : decodeIp(text)
}

function decodeIp(text: string): Ip {
  try {
    return parseIp(text)
  } catch (cause) {
    throw new AppError('ERR_CNI_DECODE', `"${text.slice(0, 80)}" is not an IP address`, { cause })
  }
}

/**
 * `address/length`, host bits allowed: how CNI writes an interface's address.
 * @throws ERR_CNI_DECODE
 */
export function parseAddress(text: string): { readonly address: Ip; readonly prefixLength: number } {
  const slash = text.lastIndexOf('/')
  const length = text.slice(slash + 1)
  const address = decodeIp(text.slice(0, Math.max(slash, 0)))
  if (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > familyBits(ipFamily(address))) {
    throw new AppError('ERR_CNI_DECODE', `"${text.slice(0, 80)}" is not address/length`)
  }
  return { address, prefixLength: Number(length) }
}
