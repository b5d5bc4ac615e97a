import { type Containerizer, type ContainerFinding } from './containerizer.ts'

/** The implementations, and which one has a container that was prepared or launched before. */
export interface ContainerRoutes {
  readonly mesos: Containerizer
  readonly docker: Containerizer
  /** By what was noted durably: an agent that is started again must know. */
  readonly isDocker: (containerId: string) => boolean
}

/** One containerizer of two: each task goes to the one that its ContainerInfo's type names. */
export function routeContainers({ mesos, docker, isDocker }: ContainerRoutes): Containerizer {
  const has = (containerId: string) => (isDocker(containerId) ? docker : mesos)
  const wants = (request: { readonly info: { readonly container?: { readonly type: string } } }) =>
    request.info.container?.type === 'docker' ? docker : mesos
  return {
    prepare: async (request, options) => wants(request).prepare?.(request, options),
    launch: (request, options) => wants(request).launch(request, options),
    signal: (containerId, name) => has(containerId).signal(containerId, name),
    recover: async (containerIds) => {
      const { docker: theirs = [], mesos: ours = [] } = Object.groupBy(containerIds, (id) =>
        isDocker(id) ? 'docker' : 'mesos',
      )
      const found = await Promise.all([mesos.recover(ours), docker.recover(theirs)])
      return new Map<string, ContainerFinding>(found.flatMap((each) => [...each]))
    },
    exec: (containerId, argv, options) => has(containerId).exec(containerId, argv, options),
    diskUsage: async (containerId, options) => (await has(containerId).diskUsage?.(containerId, options)) ?? 0,
    resize: (containerId, resources) => has(containerId).resize?.(containerId, resources),
    remove: (containerId) => has(containerId).remove(containerId),
  }
}
