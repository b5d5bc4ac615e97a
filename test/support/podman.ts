import { readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CniNode } from './cni-node.ts'
import { runBeside } from './cni-runtime.ts'

const removeIfThere = (path: string) => {
  try {
    rmdirSync(path)
  } catch {
    // ENOENT, or another podman's: not ours to remove
  }
}

/** Removes the control group that podman's runtime leaves empty. */
export const sweepControlGroups = () => {
  for (const name of readdirSync('/sys/fs/cgroup')) {
    for (const group of ['conmon', '']) removeIfThere(join('/sys/fs/cgroup', name, 'libpod_parent', group))
  }
}

/** A podman of the node's own, below its folders. */
export function podmanOf(node: CniNode, folders: { readonly bin: string; readonly conf: string }) {
  const { directory, host } = node
  const lines = [
    '[containers]',
    'default_ulimits=["nofile=1024:1024","nproc=512:512"]',
    '[engine]',
    `runtime="runc"\ncgroup_manager="cgroupfs"\nevents_logger="none"\ntmp_dir="${directory}/libpod"`,
    '[network]',
    `network_backend="cni"\ncni_plugin_dirs=["${folders.bin}"]\nnetwork_config_dir="${folders.conf}"`,
  ]
  const file = join(directory, 'containers.conf')
  writeFileSync(file, `${lines.join('\n')}\n`)
  const storage = [
    '--root',
    join(directory, 'root'),
    '--runroot',
    join(directory, 'runroot'),
    '--storage-driver',
    'vfs',
  ]
  return (...args: readonly string[]) =>
    runBeside('nsenter', [`--net=${host.path}`, 'podman', ...storage, ...args], { CONTAINERS_CONF: file })
}
