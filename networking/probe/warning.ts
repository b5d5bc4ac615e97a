import { vxlanPort } from '../protocol.ts'
import { type PathFinding } from './measure.ts'
import { type Peer } from './peers.ts'

/** What is wrong on the way to a node, and what to do, for a person; undefined when nothing is known to be wrong. */
export function formatPathWarning(
  { name, underlay, vtep }: Peer,
  finding: PathFinding,
  { device, mtuBytes }: { readonly device: string; readonly mtuBytes: number },
): string | undefined {
  switch (finding.kind) {
    case 'silent': // down, or of a version without responder: others tell of that
    case 'open':
      return undefined
    case 'narrow':
      return (
        `the path to node ${name} (${underlay}) carries ${finding.mtuBytes} octets, not the ${mtuBytes} of ${device}: ` +
        `routes to it have a smaller MTU; raise that of the way, or lower that of ${device}`
      )
    case 'blocked':
      return (
        `node ${name} answers at ${underlay} but not through VXLAN at ${vtep}: ` +
        `let UDP port ${vxlanPort} pass between the nodes`
      )
    case 'checksum':
      return (
        `packets with a checksum are lost on the way to node ${name} (${vtep}), those without one pass, with offloading ` +
        'and without: something on the way spoils UDP checksums inside VXLAN'
      )
    default:
      return finding satisfies never
  }
}
