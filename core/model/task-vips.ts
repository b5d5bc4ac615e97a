import { hasCode } from '../base/errors.ts'
import { takePorts } from './resources.ts'
import { type RunningTask } from './snapshot.ts'
import { type DiscoveryPort } from './task.ts'
import { isVipKey, parseTaskVip, parseVipLabel, taskVipIndex, vipKey, type VipSpec } from './vip.ts'

/** What of a task says which VIPs it is behind. */
export type VipLabels = Pick<RunningTask, 'discovery' | 'labels' | 'ports'>

/** A port of a task and a VIP that it is behind. */
export interface PortVip {
  readonly port: DiscoveryPort
  readonly spec: VipSpec
}

/** What becomes of a label that means nothing. */
export type OnMalformed = 'refuse' | 'pass-over'

/**
 * All VIPs of a task: labels of its discovery ports whose key starts with VIP, and task labels `VIP_PORTn`.
 * Source: dcos-net, dcos_l4lb_mesos_poller (reference/vip-load-balancer.md).
 * @throws ERR_VIP_LABEL for a malformed one, with `refuse`
 */
export function taskVips(task: VipLabels, onMalformed: OnMalformed): readonly PortVip[] {
  const attempt = (parse: () => PortVip | undefined): readonly PortVip[] => {
    try {
      const found = parse()
      return found === undefined ? [] : [found]
    } catch (error) {
      if (onMalformed === 'pass-over' && hasCode(error, 'ERR_VIP_LABEL')) return []
      throw error
    }
  }
  const ofPorts = (task.discovery?.ports ?? []).flatMap((port) =>
    Object.entries(port.labels)
      .filter(([key]) => isVipKey(key))
      .flatMap(([, value]) => attempt(() => ({ port, spec: parseVipLabel(value) }))),
  )
  const ofTask = Object.entries(task.labels ?? {}).flatMap(([key, value]) =>
    attempt(() => taskLabelVip(task, key, value)),
  )
  return [...ofPorts, ...ofTask]
}

/** The named VIPs of a task, as keys of the snapshot's `vips`, each once. @throws as {@link taskVips} */
export function taskVipKeys(
  task: VipLabels & Pick<RunningTask, 'framework'>,
  onMalformed: OnMalformed,
): readonly string[] {
  const keys = taskVips(task, onMalformed).flatMap(({ spec }) =>
    spec.kind === 'named' ? [vipKey(spec.name, task.framework)] : [],
  )
  return [...new Set(keys)]
}

/**
 * The n-th discovery port with the label's protocol; of a task that tells no ports, the n-th host port that it was given.
 * One that is not there has no VIP.
 */
function taskLabelVip(task: VipLabels, key: string, value: string): PortVip | undefined {
  const index = taskVipIndex(key)
  if (index === undefined) return undefined
  const { protocol, spec } = parseTaskVip(value)
  const ports = task.discovery?.ports ?? []
  const hostPort = takePorts(task.ports, index + 1)[index]
  const unnamed = ports.length > 0 || hostPort === undefined ? undefined : { number: hostPort, labels: onHost }
  const port = ports[index] ?? unnamed
  return port && { port: { ...port, protocols: [protocol] }, spec }
}

const onHost = { 'network-scope': 'host' } as const
