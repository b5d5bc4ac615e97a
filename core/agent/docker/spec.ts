import { cgroupLimits, taskVariables, type VolumeBind } from '../containerizer/spec.ts'
import { type ContainerRequest } from '../containerizer/containerizer.ts'
import { type EngineVersion } from './client.ts'

/** All that a container's configuration follows from. */
export interface DockerSpecInput {
  readonly request: ContainerRequest
  readonly image: string
  readonly mounts: readonly VolumeBind[]
  readonly labels: Readonly<Record<string, string>>
  /** `host`, or `container:NAME`. */
  readonly networkMode: string
  readonly engine: Pick<EngineVersion, 'hasInit'>
}

/** Body of `POST /containers/create`. Source: Engine API v1.41, ContainerCreate. */
export function dockerSpec({ request, image, mounts, labels, networkMode, engine }: DockerSpecInput): object {
  const { info, network } = request
  const { memory, cpu, pids } = cgroupLimits(info)
  const address = network.kind === 'own' ? network.addresses[0] : undefined
  const variables = taskVariables({ ...request, ...(address === undefined ? {} : { address }) })
  return {
    Image: image,
    ...commandOf(info.command),
    Env: Object.entries(variables).map(([key, value]) => `${key}=${value}`),
    ...(info.command.user === undefined ? {} : { User: info.command.user }),
    Labels: labels,
    HostConfig: {
      NetworkMode: networkMode,
      Memory: memory.limit,
      // The same: no swap beside it.
      MemorySwap: memory.limit,
      CpuShares: cpu.shares,
      PidsLimit: pids.limit,
      Privileged: info.container?.privileged === true,
      // A shell as first process would ignore SIGTERM. An image's own program may insist on being the first.
      Init: info.command.shell && engine.hasInit,
      RestartPolicy: { Name: 'no' },
      // The one that keeps everything, so that a restarted agent misses nothing.
      LogConfig: { Type: 'json-file', Config: {} },
      Mounts: mounts.map(({ source, destination, mode }) => ({
        Type: 'bind',
        Source: source,
        Target: destination,
        ReadOnly: mode === 'ro',
        BindOptions: { Propagation: 'rprivate', NonRecursive: true },
      })),
    },
  }
}

/**
 * A shell command replaces the image's entrypoint; anything else goes to it as arguments.
 * Source: mesos, src/docker/docker.cpp, Docker::RunOptions::create.
 */
function commandOf({ shell, value, arguments: argv }: ContainerRequest['info']['command']): object {
  if (shell) return { Entrypoint: ['/bin/sh', '-c'], Cmd: [value] }
  const words = value === '' || value === argv[0] ? argv : [value, ...argv]
  return words.length === 0 ? {} : { Cmd: words }
}
