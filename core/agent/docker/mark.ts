import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { writeDurably } from '../identity.ts'
import { type AgentPaths, containerPaths } from '../paths.ts'

/** Notes, before anything is made there, that a container is Docker's, and which Engine this agent uses. */
export function markDocker(paths: AgentPaths, containerId: string, socketPath: string): void {
  const { root, docker } = containerPaths(paths, containerId)
  if (engineOf(paths) !== socketPath) writeDurably(paths.docker, socketPath)
  mkdirSync(root, { recursive: true, mode: 0o700 })
  if (!existsSync(docker)) writeDurably(docker, '')
}

/** True when the container is Docker's, by {@link markDocker}. */
export function isDocker(paths: AgentPaths, containerId: string): boolean {
  return existsSync(containerPaths(paths, containerId).docker)
}

/** Socket of the Engine that an agent has used; undefined: none. */
export function engineOf(paths: AgentPaths): string | undefined {
  return existsSync(paths.docker) ? readFileSync(paths.docker, 'utf8') : undefined
}
