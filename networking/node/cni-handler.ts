import { causesOf, cniCodeOf, cniCodes, cniCodeTable, formatCniError } from '../../cni-plugins/cni/errors.ts'
import { type CniRequest, cniVersionOf, parseCniRequest } from '../../cni-plugins/cni/request.ts'
import { formatVersions } from '../../cni-plugins/cni/version.ts'
import { AppError, errorMessage, unreachable } from '../../core/base/errors.ts'
import { keyedSerial } from '../../core/base/serial.ts'
import { addContainer } from './cni-add.ts'
import { checkAttached, reportStatus } from './cni-check.ts'
import { type CniDeps, ipamPluginType, type PluginRole } from './cni-deps.ts'
import { type CniCall } from './cni-frame.ts'
import { addAddresses } from './cni-ipam.ts'
import { collectGarbage, deleteContainer, type Exclusive } from './cni-remove.ts'
import { type CniHandler } from './cni-server.ts'

/** CNI codes of the errors of what the handler composes. */
const codeTable: Readonly<Record<string, number>> = {
  ...cniCodeTable,
  ERR_IPAM_EXHAUSTED: cniCodes.tryAgain,
  ERR_IPAM_TAKEN: cniCodes.tryAgain,
  ERR_IPAM_OUTSIDE: cniCodes.config,
  ERR_IPAM_DISK_FULL: cniCodes.io,
  ERR_IPAM_JOURNAL: cniCodes.io,
  ERR_ATTACH_NETNS_GONE: cniCodes.unknownContainer,
  ERR_ATTACH_NETNS: cniCodes.environment,
  ERR_ATTACH_EXISTS: cniCodes.alreadyAttached,
  ERR_ATTACH_CHECK: cniCodes.checkFailed,
  ERR_PORTMAP_TAKEN: cniCodes.tryAgain,
  ERR_SHAPING_RATE: cniCodes.config,
  ERR_CNI_PLUGIN_MISSING: cniCodes.config,
}

/**
 * Performs the plugin's commands. Calls for one container are serialised, others run at once. Never throws: whatever is
 * wrong becomes an error object and exit code 1.
 */
export function cniHandler(deps: CniDeps): CniHandler {
  const serial = keyedSerial()
  const exclusive: Exclusive = (containerId, task) => serial(`container ${containerId}`, task)
  return async (call) => {
    const { env, stdin } = call
    try {
      const request = parseCniRequest(env, stdin)
      const key = 'attachment' in request ? `container ${request.attachment.containerId}` : request.kind
      const run = () => perform(deps, request, { call, role: roleOf(call), exclusive })
      return { exitCode: 0, stdout: request.kind === 'VERSION' ? await run() : await serial(key, run) }
    } catch (error) {
      const [code, details] = [codeOf(error), causesOf(error)]
      const who = { command: env['CNI_COMMAND'], container: env['CNI_CONTAINERID'], ifname: env['CNI_IFNAME'] }
      deps.log.warn({ ...who, code, error: errorMessage(error), details }, 'CNI call refused')
      const body = { code, msg: errorMessage(error), ...(details === undefined ? {} : { details }) }
      return { exitCode: 1, stdout: formatCniError(body, cniVersionOf(stdin)) }
    }
  }
}

/** The client says under which name it was started when that is not the usual one. */
function roleOf({ env }: CniCall): PluginRole {
  return env['WEFT_CNI_PLUGIN'] === ipamPluginType ? 'ipam' : 'interface'
}

/** What another plugin says is passed on with its own number. */
function codeOf(error: unknown): number {
  const passed = error instanceof AppError && error.code === 'ERR_CNI_PLUGIN' ? error.details['cniCode'] : undefined
  return typeof passed === 'number' && passed > 0 ? passed : cniCodeOf(error, codeTable)
}

interface PerformContext {
  readonly call: CniCall
  readonly role: PluginRole
  readonly exclusive: Exclusive
}

async function perform(deps: CniDeps, request: CniRequest, context: PerformContext): Promise<string> {
  switch (request.kind) {
    case 'ADD': {
      const added = context.role === 'ipam' ? addAddresses(deps, request) : addContainer(deps, request, context.call)
      return `${JSON.stringify(await added)}\n`
    }
    case 'DEL':
      await deleteContainer(deps, request, context)
      return ''
    case 'CHECK':
      await checkAttached(deps, request, context)
      return ''
    case 'GC':
      await collectGarbage(deps, request, context)
      return ''
    case 'STATUS':
      await reportStatus(deps, request, context)
      return ''
    case 'VERSION':
      return formatVersions(request.cniVersion)
    default:
      return unreachable(request)
  }
}
