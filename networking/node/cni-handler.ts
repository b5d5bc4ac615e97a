import { causesOf, cniCodeOf, cniCodes, cniCodeTable, formatCniError } from '../../cni-plugins/cni/errors.ts'
import { type CniRequest, cniVersionOf, parseCniRequest } from '../../cni-plugins/cni/request.ts'
import { formatVersions } from '../../cni-plugins/cni/version.ts'
import { errorMessage, unreachable } from '../../core/base/errors.ts'
import { keyedSerial } from '../../core/base/serial.ts'
import {
  addContainer,
  checkAttached,
  type CniDeps,
  collectGarbage,
  deleteContainer,
  reportStatus,
} from './cni-commands.ts'
import { type CniHandler } from './cni-server.ts'

/** CNI codes of the errors of what the handler composes. */
const codeTable: Readonly<Record<string, number>> = {
  ...cniCodeTable,
  ERR_IPAM_EXHAUSTED: cniCodes.tryAgain,
  ERR_IPAM_TAKEN: cniCodes.tryAgain,
  ERR_IPAM_BUSY: cniCodes.tryAgain,
  ERR_IPAM_OUTSIDE: cniCodes.config,
  ERR_IPAM_DISK_FULL: cniCodes.io,
  ERR_IPAM_JOURNAL: cniCodes.io,
  ERR_ATTACH_NETNS_GONE: cniCodes.unknownContainer,
  ERR_ATTACH_NETNS: cniCodes.environment,
  ERR_ATTACH_EXISTS: cniCodes.alreadyAttached,
  ERR_ATTACH_CHECK: cniCodes.checkFailed,
}

/**
 * Performs the plugin's commands. Calls for one container are serialised, others run at once. Never throws: whatever is
 * wrong becomes an error object and exit code 1.
 */
export function cniHandler(deps: CniDeps): CniHandler {
  const serial = keyedSerial()
  return async ({ env, stdin }) => {
    try {
      const request = parseCniRequest(env, stdin)
      const key = 'attachment' in request ? `container ${request.attachment.containerId}` : request.kind
      const run = () => perform(deps, request)
      return { exitCode: 0, stdout: request.kind === 'VERSION' ? await run() : await serial(key, run) }
    } catch (error) {
      const [code, details] = [cniCodeOf(error, codeTable), causesOf(error)]
      const call = { command: env['CNI_COMMAND'], container: env['CNI_CONTAINERID'], ifname: env['CNI_IFNAME'] }
      deps.log.warn({ ...call, code, error: errorMessage(error), details }, 'CNI call refused')
      const body = { code, msg: errorMessage(error), ...(details === undefined ? {} : { details }) }
      return { exitCode: 1, stdout: formatCniError(body, cniVersionOf(stdin)) }
    }
  }
}

async function perform(deps: CniDeps, request: CniRequest): Promise<string> {
  switch (request.kind) {
    case 'ADD':
      return `${JSON.stringify(await addContainer(deps, request))}\n`
    case 'DEL':
      await deleteContainer(deps, request)
      return ''
    case 'CHECK':
      await checkAttached(deps, request)
      return ''
    case 'GC':
      await collectGarbage(deps, request)
      return ''
    case 'STATUS':
      await reportStatus(deps, request)
      return ''
    case 'VERSION':
      return formatVersions(request.cniVersion)
    default:
      return unreachable(request)
  }
}
