/** Where a container's root file system comes from. No image: the host's own directories, read-only. */
export type Image =
  /** A directory of the agent's machine, absolute; never written to. */
  | { readonly kind: 'directory'; readonly path: string }
  /** A tar archive (gzip, xz and zstd too): a URI as {@link FetchUri} has it. */
  | { readonly kind: 'tarball'; readonly uri: string }
  /**
   * An OCI or Docker image, as skopeo names it: `oci:/path/layout:tag`, `docker-archive:/path.tar`,
   * `docker://registry/name:tag`; a bare `name:tag` means `docker://`. Source: containers-transports(5).
   */
  | { readonly kind: 'oci'; readonly reference: string; readonly forcePull: boolean }

/** Something of outside the container, seen inside. */
export interface VolumeMount {
  /** Absolute in the container, or relative to its sandbox. */
  readonly containerPath: string
  readonly mode: 'ro' | 'rw'
  readonly source: /** A path of the agent's machine. */
    | { readonly kind: 'host'; readonly path: string }
    /** A persistent volume that the task's resources name. */
    | { readonly kind: 'persistent'; readonly id: string }
    /** A directory of the sandbox of the task group's executor, shared within a pod. */
    | { readonly kind: 'shared'; readonly path: string }
    /**
     * The text of a secret, in a file of memory that only the task can read. With the name of its source the value is empty
     * until the master sends the task.
     */
    | { readonly kind: 'secret'; readonly value: string; readonly source?: string }
}

/** How a container is made. Source: mesos, mesos.proto, message ContainerInfo. */
export interface ContainerInfo {
  /** `mesos`: by the OCI runtime; `docker`: by a Docker Engine on the agent's machine. */
  readonly type: 'mesos' | 'docker'
  readonly image?: Image
  readonly volumes: readonly VolumeMount[]
  /** For `docker` only. */
  readonly privileged?: boolean
}

/** A file that is put into the sandbox before the task starts. Source: mesos, mesos.proto, CommandInfo.URI. */
export interface FetchUri {
  /** `http:`, `https:`, `file:` or an absolute path of the agent's machine. */
  readonly uri: string
  readonly executable: boolean
  /** tar, tar.gz, tgz, tar.xz, tar.bz2, zip: unpacked beside the file. */
  readonly extract: boolean
  readonly cache: boolean
  readonly outputFile?: string
}
