import { type Ip } from '../../core/base/ip.ts'
import { type Protocol } from '../../core/model/task.ts'

/** What names a virtual service in the kernel. */
export interface IpvsServiceId {
  readonly address: Ip
  readonly port: number
  readonly protocol: Protocol
}

/** A virtual service. `odd`: has flags that we never give it (persistence, one-packet): somebody changed it. */
export interface IpvsService extends IpvsServiceId {
  readonly scheduler: string
  readonly odd?: true
}

/** A real server of a service. `odd`: not reached by translation. */
export interface IpvsDestination {
  readonly address: Ip
  readonly port: number
  readonly weight: number
  /** How many it has, those that are ending included, when it was read. */
  readonly connections?: number
  readonly odd?: true
}

/** One change of the kernel's table. */
export type IpvsOp =
  | { readonly kind: 'service.add' | 'service.set'; readonly service: IpvsService }
  | { readonly kind: 'service.del'; readonly service: IpvsServiceId }
  | {
      readonly kind: 'destination.add' | 'destination.set' | 'destination.del'
      readonly service: IpvsServiceId
      readonly destination: IpvsDestination
    }

/** A service with its real servers. */
export interface IpvsEntry {
  readonly service: IpvsService
  readonly destinations: readonly IpvsDestination[]
}

/** Timeouts of idle connections. */
export interface IpvsTimeouts {
  readonly tcpSeconds: number
  readonly tcpFinSeconds: number
  readonly udpSeconds: number
}

/** The kernel's IPVS table of one network namespace. */
export interface IpvsTable {
  /** All of it; entries that no op could have made are told as text. */
  read(): { readonly entries: readonly IpvsEntry[]; readonly others: readonly string[] }
  /** Tries all, in order. @throws AggregateError of what the kernel refused */
  perform(ops: readonly IpvsOp[], options: { readonly signal: AbortSignal }): Promise<void>
  timeouts(): IpvsTimeouts
  setTimeouts(timeouts: IpvsTimeouts): void
  close(): void
}
