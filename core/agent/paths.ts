import { join } from 'node:path'

/** Where an agent keeps what; all of it below one directory, so that `weft down` finds and removes all. */
export interface AgentPaths {
  readonly root: string
  /** {@link AgentIdentity} and the chosen runtime. */
  readonly identity: string
  /** One folder for each task that is not forgotten yet: its journal, its bundle, its files. */
  readonly containers: string
  /** The empty root file system that all containers share: mount points only. */
  readonly rootfs: string
  /** What supervisors say: `ID.running`, `ID.pid`, `ID.exit.STATUS`. One directory, so that one inotify watch serves all. */
  readonly events: string
  /** State of the OCI runtime. */
  readonly runtime: string
  /** The folder with the socket of the executor API, which containers of custom executors see. */
  readonly executorApi: string
  /** Pinned network namespaces, named by container id. */
  readonly netns: string
  /** Working directories with `stdout` and `stderr`; they outlive their tasks. */
  readonly sandboxes: string
  /** What is reserved here, as a master last told it. */
  readonly reservations: string
  /** Directories of persistent volumes: `roles/ROLE/ID`. */
  readonly volumes: string
  /** Unpacked images, each by its digest: lower layers of containers. */
  readonly images: string
  /** Files that were fetched with `cache`. */
  readonly fetched: string
  /** Files on their way into sandboxes, by container id; users may pass through it. */
  readonly fetching: string
  /** Socket of the Docker Engine that was used here. */
  readonly docker: string
}

/** Paths of one container. */
export interface ContainerPaths {
  readonly root: string
  readonly journal: string
  /** Of an executor, in place of a task's journal. */
  readonly executorJournal: string
  readonly bundle: string
  readonly spec: string
  readonly hosts: string
  readonly hostname: string
  readonly resolvConf: string
  readonly runtimeLog: string
  readonly sandbox: string
  readonly netns: string
  /** Names the image that is its lower layer, so that the image stays. */
  readonly image: string
  /** Its root file system while it runs, seen by it alone; and what it wrote there. */
  readonly rootfs: string
  readonly upper: string
  /** There when Docker has the container. */
  readonly docker: string
}

/** The layout below a state directory. */
export function agentPaths(stateDir: string): AgentPaths {
  return {
    root: stateDir,
    identity: join(stateDir, 'agent.json'),
    containers: join(stateDir, 'containers'),
    rootfs: join(stateDir, 'rootfs'),
    events: join(stateDir, 'events'),
    runtime: join(stateDir, 'runtime'),
    executorApi: join(stateDir, 'executor-api'),
    netns: join(stateDir, 'netns'),
    sandboxes: join(stateDir, 'sandboxes'),
    reservations: join(stateDir, 'reservations'),
    volumes: join(stateDir, 'volumes'),
    images: join(stateDir, 'images'),
    fetched: join(stateDir, 'fetched'),
    fetching: join(stateDir, 'fetching'),
    docker: join(stateDir, 'docker'),
  }
}

/** The layout of one container. */
export function containerPaths(paths: AgentPaths, containerId: string): ContainerPaths {
  const root = join(paths.containers, containerId)
  return {
    root,
    journal: join(root, 'journal'),
    executorJournal: join(root, 'executor'),
    bundle: root,
    spec: join(root, 'config.json'),
    hosts: join(root, 'hosts'),
    hostname: join(root, 'hostname'),
    resolvConf: join(root, 'resolv.conf'),
    runtimeLog: join(root, 'runtime.log'),
    sandbox: join(paths.sandboxes, containerId),
    netns: join(paths.netns, containerId),
    image: join(root, 'image'),
    rootfs: join(root, 'rootfs'),
    upper: join(root, 'upper'),
    docker: join(root, 'docker'),
  }
}
