import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type HostLayout } from '../../core/cli/up/layout.ts'
import { referenceFolder } from './cni-bench.ts'
import { makeHost } from './hosts.ts'

/** What an operator would write: a namespace, the reference plugins, the same runtime on the same kind of bundle. */
const script = `set -e
one() {
  id=bench-$1; ns=/run/netns/$prefix-$1; bundle=$folder/$id
  ip netns add $prefix-$1
  CNI_COMMAND=ADD CNI_CONTAINERID=$id CNI_NETNS=$ns CNI_IFNAME=eth0 CNI_PATH=$plugins $plugins/bridge <$folder/conf >/dev/null
  mkdir $bundle
  sed "s,@NETNS@,$ns,g;s,@ID@,$id,g" $folder/template/config.json >$bundle/config.json
  $runtime --root $folder/state run --detach --bundle $bundle $id </dev/null >$bundle/log 2>&1
}
export -f one
seq $1 | xargs -P $2 -n 1 bash -c 'one $0'
`

/** What was never made is no failure: the loop may have ended before. */
const cleaning = `one() { $runtime --root $folder/state delete --force bench-$1; ip netns del $prefix-$1; true; }
export -f one
seq $1 | xargs -P 4 -n 1 bash -c 'one $0'
`

/** Containers in a loop without us, made as the agent of a running cluster has made one of its own. */
export interface LaunchPeer {
  readonly name: string
  /** Makes so many, some at once; removes them after the measurement. `readBusyMs`: the machine's processor time so far. */
  launch(count: number, workers: number, readBusyMs: () => number): { readonly wallMs: number; readonly busyMs: number }
  remove(): void
}

/** Takes a container of that agent as the pattern; the runtime is the one that the agent has chosen. */
export function openLaunchPeer({ directory }: Pick<HostLayout, 'directory'>): LaunchPeer {
  const agent = join(directory, 'agent')
  const [pattern] = readdirSync(join(agent, 'containers'))
  if (pattern === undefined) throw new Error('the agent has no container to take as a pattern')
  const folder = mkdtempSync(join(tmpdir(), 'wft-launch-'))
  const prefix = `wft-${process.pid}-launch`
  const { path: runtime, name } = JSON.parse(readFileSync(join(agent, 'runtime.json'), 'utf8')) as {
    readonly path: string
    readonly name: string
  }
  writeTemplate(folder, agent, pattern)
  const ipam = { type: 'host-local', dataDir: join(folder, 'ipam'), ranges: [[{ subnet: '10.80.0.0/16' }]] }
  const conf = {
    cniVersion: '1.0.0',
    name: 'launch',
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    ipMasq: false,
    ipam,
  }
  writeFileSync(join(folder, 'conf'), JSON.stringify(conf))
  const host = makeHost('launch')
  const env = { ...process.env, folder, prefix, runtime, plugins: referenceFolder }
  const clean = (count: number) => {
    execFileSync('bash', ['-c', cleaning, 'bash', String(count)], { env, stdio: 'ignore' })
    for (let i = 1; i <= count; i++) rmSync(join(folder, `bench-${i}`), { recursive: true, force: true })
  }
  const launch = (count: number, workers: number, readBusyMs: () => number) => {
    const words = [`--net=${host.path}`, 'bash', '-c', script, 'bash', String(count), String(workers)]
    try {
      const [began, busy] = [performance.now(), readBusyMs()]
      execFileSync('nsenter', words, { env, stdio: ['ignore', 'ignore', 'inherit'] })
      return { wallMs: performance.now() - began, busyMs: readBusyMs() - busy }
    } finally {
      clean(count)
    }
  }
  const remove = () => {
    host.remove()
    rmSync(folder, { recursive: true, force: true })
  }
  return { name: `${name}, bridge, host-local`, launch, remove }
}

/** The agent's own bundle, with its files copied, and places for the namespace and the id. */
function writeTemplate(folder: string, agent: string, pattern: string): void {
  const own = join(agent, 'containers', pattern)
  const template = join(folder, 'template')
  cpSync(own, template, { recursive: true })
  mkdirSync(join(folder, 'sandbox'))
  const text = readFileSync(join(own, 'config.json'), 'utf8')
    .replaceAll(join(agent, 'netns', pattern), '@NETNS@')
    .replaceAll(own, template)
    .replaceAll(join(agent, 'sandboxes', pattern), join(folder, 'sandbox'))
    .replaceAll(pattern, '@ID@')
  writeFileSync(join(template, 'config.json'), text)
}
