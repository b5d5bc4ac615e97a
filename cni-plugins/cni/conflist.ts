/** Everything that the plugin takes from a runtime. Source: CNI CONVENTIONS.md, "Dynamic Plugin specific fields". */
export const weftCapabilities = ['portMappings', 'ips', 'ipRanges', 'mac', 'bandwidth', 'dns', 'aliases'] as const

/**
 * The configuration list of one Weft network, as text. `cniVersion` is what runtimes with libcni 1.1 and older speak;
 * newer ones choose from `cniVersions`, and so get GC and STATUS.
 */
export function formatWeftConflist(network: string, socket: string): string {
  const capabilities = Object.fromEntries(weftCapabilities.map((name) => [name, true]))
  const list = {
    cniVersion: '1.0.0',
    cniVersions: ['0.3.1', '0.4.0', '1.0.0', '1.1.0'],
    name: network,
    plugins: [{ type: 'weft', socket, capabilities }],
  }
  return `${JSON.stringify(list, undefined, 2)}\n`
}
