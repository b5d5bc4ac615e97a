import { cgroupSuffix } from '../containerizer/cgroup.ts'

/** Of every container of ours: whose it is (follows from the state directory), and which. */
export const agentLabel = 'weft.agent'

/** The agent's container id; the task's container and the one that keeps its network have the same. */
export const containerLabel = 'weft.container'

/** Names of one agent's containers. */
export interface DockerNames {
  /** Value of {@link agentLabel}. */
  readonly agent: string
  /** Of the task's container. A task's id may have characters that Docker's names may not; its random end stays. */
  task(containerId: string): string
  /** Of the container that keeps its network namespace. */
  network(containerId: string): string
}

/** The names that an agent with that state directory gives. */
export function dockerNames(stateDir: string): DockerNames {
  const agent = cgroupSuffix(stateDir)
  const task = (id: string) => `weft-${agent}-${id.replace(/[^a-zA-Z0-9_.-]/g, '_')}`
  return { agent, task, network: (id) => `${task(id)}.network` }
}
