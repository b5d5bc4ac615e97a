import { ipFamily } from '../../core/base/ip.ts'
import { type JsonObject } from './json.ts'
import { type CniDns, type CniInterface, type CniIp, type CniResult, type CniRoute } from './result.ts'
import { type CniVersion, isAtLeast } from './version.ts'

/**
 * A result as version `version` writes it: before 0.3.0 `ip4`/`ip6` (the only form that Mesos reads), before 1.0.0 with
 * `ips[].version`, from 1.1.0 with MTU and route attributes. What a version cannot say is left out.
 */
export function formatCniResult(result: CniResult, version: CniVersion): JsonObject {
  const head = { cniVersion: version }
  if (!isAtLeast(version, '0.3.0')) return { ...head, ...formatOld(result, version), dns: formatDns(result.dns) }
  const ips = result.ips.map((ip) => ({
    ...(isAtLeast(version, '1.0.0') ? {} : { version: `${ipFamily(ip.address)}` }),
    ...formatIp(ip),
  }))
  return {
    ...head,
    interfaces: result.interfaces.map((link) => formatInterface(link, version)),
    ips,
    routes: result.routes.map((route) => formatRoute(route, version)),
    dns: formatDns(result.dns),
  }
}

function formatOld(result: CniResult, version: CniVersion): JsonObject {
  const entry = (family: 4 | 6) => {
    const ip = result.ips.find(({ address }) => ipFamily(address) === family)
    if (ip === undefined) return undefined
    const routes = result.routes
      .filter(({ destination }) => ipFamily(destination) === family)
      .map((route) => formatRoute(route, version))
    return {
      ip: `${ip.address}/${ip.prefixLength}`,
      ...(ip.gateway === undefined ? {} : { gateway: ip.gateway }),
      routes,
    }
  }
  const [ip4, ip6] = [entry(4), entry(6)]
  return { ...(ip4 === undefined ? {} : { ip4 }), ...(ip6 === undefined ? {} : { ip6 }) }
}

function formatInterface(link: CniInterface, version: CniVersion): JsonObject {
  const full = isAtLeast(version, '1.1.0')
  return {
    name: link.name,
    ...(link.mac === undefined ? {} : { mac: link.mac }),
    ...(link.sandbox === undefined ? {} : { sandbox: link.sandbox }),
    ...(full && link.mtuBytes !== undefined ? { mtu: link.mtuBytes } : {}),
    ...(full && link.socketPath !== undefined ? { socketPath: link.socketPath } : {}),
    ...(full && link.pciId !== undefined ? { pciID: link.pciId } : {}),
  }
}

function formatIp(ip: CniIp): JsonObject {
  return {
    address: `${ip.address}/${ip.prefixLength}`,
    ...(ip.gateway === undefined ? {} : { gateway: ip.gateway }),
    ...(ip.interface === undefined ? {} : { interface: ip.interface }),
  }
}

function formatRoute(route: CniRoute, version: CniVersion): JsonObject {
  const attributes = {
    ...(route.mtuBytes === undefined ? {} : { mtu: route.mtuBytes }),
    ...(route.advmssBytes === undefined ? {} : { advmss: route.advmssBytes }),
    ...(route.priority === undefined ? {} : { priority: route.priority }),
    ...(route.table === undefined ? {} : { table: route.table }),
    ...(route.scope === undefined ? {} : { scope: route.scope }),
  }
  return {
    dst: route.destination,
    ...(route.gateway === undefined ? {} : { gw: route.gateway }),
    ...(isAtLeast(version, '1.1.0') ? attributes : {}),
  }
}

function formatDns(dns: CniDns): JsonObject {
  return {
    ...(dns.nameservers.length > 0 ? { nameservers: dns.nameservers } : {}),
    ...(dns.domain === undefined ? {} : { domain: dns.domain }),
    ...(dns.search.length > 0 ? { search: dns.search } : {}),
    ...(dns.options.length > 0 ? { options: dns.options } : {}),
  }
}
