import { type CniDns } from '../../../cni-plugins/cni/result.ts'
import { type Ip } from '../../base/ip.ts'

/** Text of /etc/hosts: loopback, and the container's own name at its first addresses. */
export function hostsText(hostname: string, addresses: readonly Ip[]): string {
  const lines = ['127.0.0.1 localhost', '::1 localhost ip6-localhost ip6-loopback']
  return [...lines, ...addresses.map((address) => `${address} ${hostname}`), ''].join('\n')
}

/** Text of /etc/resolv.conf. Source: resolv.conf(5). */
export function resolvConfText({ nameservers, domain, search, options }: CniDns): string {
  const lines = [
    ...(domain === undefined ? [] : [`domain ${domain}`]),
    ...(search.length === 0 ? [] : [`search ${search.join(' ')}`]),
    ...nameservers.map((nameserver) => `nameserver ${nameserver}`),
    ...(options.length === 0 ? [] : [`options ${options.join(' ')}`]),
  ]
  return [...lines, ''].join('\n')
}

/** A host name for a container: a DNS label made from its id (RFC 1123 §2.1), at most 63 octets. */
export function containerHostname(containerId: string): string {
  const label = containerId.toLowerCase().replace(/[^a-z0-9]+/g, '-')
  return label.slice(-63).replace(/^-+|-+$/g, '')
}
