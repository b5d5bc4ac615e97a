const base = ['core/base']
const domainGround = ['core/base', 'core/reconcile', 'core/model', 'core/api']

/** Folders that know a protocol and no policy: any domain may use them. */
export const mechanism = [
  'networking/netlink',
  'networking/nft',
  'networking/ipam',
  'networking/netns.ts',
  'networking/protocol.ts',
  'discovery/dns',
  'cni-plugins/cni',
] as const

/** A mechanism may name what the model brands (identifiers), nothing more of it. */
const mechanismGround = ['core/base', 'core/model/ids.ts', 'networking/protocol.ts']

const coreProcess = ['core/base', 'core/reconcile', 'core/model', 'core/api', 'core/store']
const networkingDomain = [...domainGround, ...mechanism, 'networking/node/stage.ts']

/** Which folder may import which (layout.md); `core/cli` and files named `main.ts` compose everything. */
export const allowedImports: Readonly<Record<string, readonly string[]>> = {
  'core/base': [],
  'core/reconcile': base,
  'core/model': base,
  'core/store': base,
  'core/api': ['core/model', 'core/base'],
  'core/master': coreProcess,
  'core/agent': [...coreProcess, 'cni-plugins/cni'],
  'core/scheduling': ['core/base', 'core/model'],
  'core/services': [...coreProcess, 'core/scheduling'],
  'core/jobs': [...coreProcess, 'core/scheduling'],
  'networking/netlink': [...mechanismGround, 'networking/netns.ts'],
  'networking/nft': mechanismGround,
  'networking/ipam': mechanismGround,
  'networking/netns.ts': [...mechanismGround, 'networking/netlink'],
  'networking/protocol.ts': base,
  'networking/overlay': networkingDomain,
  'networking/isolation': networkingDomain,
  'networking/attach': networkingDomain,
  'networking/portmap': networkingDomain,
  'networking/shaping': networkingDomain,
  'networking/probe': networkingDomain,
  'networking/explain': [...networkingDomain, 'networking/isolation', 'networking/overlay', 'discovery', 'lb'],
  'networking/node': [
    ...networkingDomain,
    'networking/overlay',
    'networking/isolation',
    'networking/attach',
    'networking/portmap',
    'networking/shaping',
    'networking/probe',
    'networking/explain',
    'discovery',
    'lb',
  ],
  'discovery/dns': base,
  discovery: [...domainGround, ...mechanism, 'networking/node/stage.ts'],
  lb: [...domainGround, ...mechanism, 'networking/node/stage.ts'],
  'cni-plugins/cni': base,
  'cni-plugins/weft': ['cni-plugins/cni', 'core/base'],
}

/** Names of files that hold nearly all policy and need no privilege to test. */
export const pureFileNames = ['plan', 'desired', 'allocate', 'generate', 'answer', 'diff', 'state'] as const
