import { type MessagePort } from 'node:worker_threads'
import { type Ip } from '../../core/base/ip.ts'
import { type LogFields } from '../../core/base/log.ts'
import { type ProxyConfig } from '../proxy/config.ts'
import { type NamesConfig } from '../records/config.ts'
import { type HotBuffers } from '../server/hot-memory.ts'
import { type PackedChange } from '../server/packed.ts'

/** What the answering threads begin with. */
export interface HotThreadData {
  readonly fds: readonly number[]
  readonly wakeFd: number
  readonly buffers: HotBuffers
  readonly stats: SharedArrayBuffer
  /** Where packets go that have no ready response: {@link Misses}. */
  readonly misses: MessagePort
}

/** What the general thread begins with. */
export interface GeneralThreadData {
  readonly config: NamesConfig
  readonly addresses: readonly Ip[]
  readonly port: number
  /** `dgram`: the thread answers UDP itself, since nothing faster is there. */
  readonly udp: 'hot' | 'dgram'
  readonly buffers: HotBuffers
  readonly stats: SharedArrayBuffer
  readonly misses: readonly MessagePort[]
  /** Sockets that it answers itself, since no other thread does. */
  readonly fds: readonly number[]
  /** Absent: names of no zone of ours are refused. */
  readonly proxy?: ProxyConfig
}

/** Packets of one socket: for each, length of the address, length of the packet (16 bits each), address, packet. */
export interface Misses {
  readonly fd: number
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** What the daemon tells the general thread. */
export type Order =
  | { readonly kind: 'change'; readonly id: number; readonly change: PackedChange }
  | { readonly kind: 'close' }

/** What it says. */
export type Report =
  | { readonly kind: 'ready'; readonly endpoints: readonly { readonly address: Ip; readonly port: number }[] }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string; readonly taken: boolean }
  | { readonly kind: 'applied'; readonly id: number }
  | {
      readonly kind: 'log'
      readonly level: 'error' | 'warn' | 'info' | 'debug'
      readonly fields: LogFields
      readonly text: string
    }
