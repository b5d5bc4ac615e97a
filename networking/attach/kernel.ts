import { closeSync, fstatSync, openSync, statSync, writeFileSync } from 'node:fs'
import { AppError, errorMessage, hasCode } from '../../core/base/errors.ts'
import { openLinkRemover } from '../netlink/link-remover.ts'
import { openRouteSocket } from '../netlink/route-socket.ts'
import { type RouteSocket } from '../netlink/ops.ts'
import { insideNetns } from '../netns.ts'
import { type NetSetting } from './plan.ts'

/** Tells one namespace from another. */
export interface NetnsIdentity {
  readonly dev: bigint
  readonly ino: bigint
}

/** What attaching needs of the kernel. */
export interface AttachKernel {
  /** Bound to the node's namespace. */
  readonly host: RouteSocket
  /** Namespaces that no container may have: the node's, the process's, the machine's. */
  readonly forbidden: readonly NetnsIdentity[]
  /** A socket in the container's namespace; the caller closes it. @throws ERR_ATTACH_NETNS */
  openInside(netnsFd: number): RouteSocket
  /** Resolves when these links of the node are gone; keeps nobody else waiting. @throws ERR_NETLINK_<ERRNO> */
  removeLinks(names: readonly string[]): Promise<void>
  /** Writes settings in a namespace. @throws ERR_ATTACH_SETTING */
  writeSettings(where: 'host' | number, settings: readonly NetSetting[]): void
  close(): void
}

/**
 * The real kernel. `netns` is the node's namespace where it is not the process's own (tests, simulated hosts).
 * @throws what openRouteSocket throws
 */
export function openAttachKernel({ netns }: { readonly netns?: string } = {}): AttachKernel {
  const hostFd = openSync(netns ?? '/proc/thread-self/ns/net', 'r')
  try {
    const host = openRouteSocket({ netns: hostFd })
    const remover = openLinkRemover({ netns: hostFd })
    return {
      host,
      forbidden: [identityOf(hostFd), ...['/proc/thread-self/ns/net', '/proc/1/ns/net'].flatMap(identityOfPath)],
      openInside,
      removeLinks: (names) => remover.remove(names),
      writeSettings: (where, settings) => {
        const write = () => settings.forEach(writeSetting)
        if (settings.length === 0) return
        // Synchronous calls only: threads of Node's pool may be in another namespace.
        if (where === 'host' && netns === undefined) write()
        else insideNetns(where === 'host' ? hostFd : where, write)
      },
      close: () => {
        host.close()
        remover.close()
        closeSync(hostFd)
      },
    }
  } catch (error) {
    closeSync(hostFd)
    throw error
  }
}

/** Device and inode number of a namespace's file. */
export function identityOf(fd: number): NetnsIdentity {
  const { dev, ino } = fstatSync(fd, { bigint: true })
  return { dev, ino }
}

function identityOfPath(path: string): readonly NetnsIdentity[] {
  try {
    const { dev, ino } = statSync(path, { bigint: true })
    return [{ dev, ino }]
  } catch {
    return [] // EACCES, ENOENT: what cannot be named cannot be given either
  }
}

function openInside(netnsFd: number): RouteSocket {
  try {
    return openRouteSocket({ netns: netnsFd })
  } catch (cause) {
    const reason = errorMessage(cause)
    throw new AppError('ERR_ATTACH_NETNS', `CNI_NETNS cannot be entered: ${reason}`, { cause })
  }
}

function writeSetting({ path, value, absent }: NetSetting): void {
  try {
    writeFileSync(`/proc/sys/net/${path}`, value)
  } catch (cause) {
    if (absent === 'fine' && hasCode(cause, 'ENOENT')) return
    const reason = `cannot set /proc/sys/net/${path} to ${value}: ${errorMessage(cause)}`
    throw new AppError('ERR_ATTACH_SETTING', `${reason}; /proc/sys must be writable for the node daemon`, { cause })
  }
}
