import { errorMessage } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { type ChecksumOffload } from './offload.ts'

/** What came of an attempt to get packets with checksums through. */
export type ChecksumRepair =
  /** They pass now; offloading stays off on these devices. */
  | { readonly kind: 'repaired'; readonly devices: readonly string[] }
  /** They don't pass without offloading either (or it was off already): the fault is elsewhere, all is as before. */
  | { readonly kind: 'elsewhere' }

/** What the attempt works with. */
export interface ChecksumRepairOptions {
  readonly offload: Pick<ChecksumOffload, 'read' | 'set'>
  /** All VXLAN devices of ours: they send through the same underlay device, where packets are spoiled. */
  readonly devices: readonly string[]
  /** Do packets with checksums pass now? */
  readonly passes: () => Promise<boolean>
  readonly log: Logger
}

/**
 * Turns checksum offloading off on the VXLAN devices, and keeps it so only when packets then pass. To be called when a
 * probe has shown that packets with a checksum are lost where those without one pass: known kernels and cards fill in
 * wrong outer checksums then, and a connection takes 63 seconds (kubernetes#88986, reference/pains.md).
 */
export async function repairChecksums(options: ChecksumRepairOptions): Promise<ChecksumRepair> {
  const { offload, passes, log } = options
  const devices = options.devices.filter((device) => offload.read(device) === 'on')
  if (devices.length === 0) return { kind: 'elsewhere' }
  const turned: string[] = []
  try {
    for (const device of devices) {
      offload.set(device, 'off')
      turned.push(device)
    }
    if (await passes()) return { kind: 'repaired', devices }
  } catch (error) {
    restore(options, turned)
    throw error
  }
  restore(options, turned)
  log.warn({ devices }, 'checksums are not spoiled by offloading; it is on again')
  return { kind: 'elsewhere' }
}

function restore({ offload, log }: ChecksumRepairOptions, devices: readonly string[]): void {
  for (const device of devices) {
    try {
      offload.set(device, 'on')
    } catch (error) {
      log.warn({ device, reason: errorMessage(error) }, 'checksum offloading stays off')
    }
  }
}
