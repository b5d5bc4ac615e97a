import { errorMessage } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { type ChecksumOffload } from './offload.ts'

/** Checksum offloading that stays as it was put when a device is made anew: the kernel makes each with offloading on. */
export interface KeptOffload extends Pick<ChecksumOffload, 'read' | 'set'> {
  /** A VXLAN device of ours was just made. All of them send through the device that spoils packets, so a new one counts. */
  deviceMade(device: string): void
}

/** Remembers until this process ends; after that a probe finds the fault again. */
export function keepOffload(offload: Pick<ChecksumOffload, 'read' | 'set'>, log: Logger): KeptOffload {
  let wanted: 'on' | 'off' = 'on'
  return {
    read: (device) => offload.read(device),
    set: (device, state) => {
      offload.set(device, state)
      wanted = state
    },
    deviceMade: (device) => {
      if (wanted === 'on') return
      try {
        offload.set(device, 'off')
        log.info({ device }, 'checksum offloading is turned off on the new device too')
      } catch (error) {
        log.warn(
          { device, reason: errorMessage(error) },
          'checksum offloading stays on until a probe finds the fault again',
        )
      }
    },
  }
}
