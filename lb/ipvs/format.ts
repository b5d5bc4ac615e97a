import { type Ip } from '../../core/base/ip.ts'
import { type IpvsOp, type IpvsServiceId, type IpvsTimeouts } from './ops.ts'

/** The op as an operator would type it: ipvsadm(8). */
export function formatIpvsOp(op: IpvsOp): string {
  const service = formatServiceId(op.service)
  switch (op.kind) {
    case 'service.add':
      return `ipvsadm -A ${service} ${formatScheduler(op.service.scheduler)}`
    case 'service.set':
      return `ipvsadm -E ${service} ${formatScheduler(op.service.scheduler)}`
    case 'service.del':
      return `ipvsadm -D ${service}`
    case 'destination.add':
      return `ipvsadm -a ${service} -r ${formatEndpoint(op.destination)} -m -w ${op.destination.weight}`
    case 'destination.set':
      return `ipvsadm -e ${service} -r ${formatEndpoint(op.destination)} -m -w ${op.destination.weight}`
    case 'destination.del':
      return `ipvsadm -d ${service} -r ${formatEndpoint(op.destination)}`
  }
}

/** `ipvsadm --set TCP TCPFIN UDP` */
export function formatTimeouts({ tcpSeconds, tcpFinSeconds, udpSeconds }: IpvsTimeouts): string {
  return `ipvsadm --set ${tcpSeconds} ${tcpFinSeconds} ${udpSeconds}`
}

/** `-t 100.96.0.1:80`, `-u [fd01:c::1]:53` */
export function formatServiceId(id: IpvsServiceId): string {
  return `${id.protocol === 'tcp' ? '-t' : '-u'} ${formatEndpoint(id)}`
}

function formatScheduler(scheduler: string): string {
  return scheduler === 'sh' || scheduler === 'mh' ? `-s ${scheduler} -b ${scheduler}-fallback` : `-s ${scheduler}`
}

function formatEndpoint({ address, port }: { readonly address: Ip; readonly port: number }): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
