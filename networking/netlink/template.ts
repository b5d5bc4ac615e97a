/**
 * Large batches are of few kinds, and ops of one kind differ in an address or two. So the first op of a kind is encoded by
 * its tables, and the next ones that are like it are copies of those octets with other addresses put in: a fifth of the
 * work. What is like none is encoded by the tables, and is a template from then on. Nothing of a message's layout is
 * repeated here: where a value stands is looked up in what the tables wrote.
 */
import { eachAttr } from './attr.ts'
import { putIpv4, putMac } from './codec-address.ts'
import { formatRouteOp } from './format.ts'
import { type NetlinkRequest } from './message.ts'
import { neighbourAttrs, neighbourShape } from './neighbour.ts'
import { nexthopAttrs, nexthopShape } from './nexthop.ts'
import { type RouteOp, type RouteSpec } from './ops.ts'
import { routeOpRequest } from './route-op.ts'
import { routeAttrs, routeShape } from './route.ts'
import { Writer } from './writer.ts'

/** Requests of one batch. */
export interface RequestMaker {
  /** @throws what `index` throws */
  request(op: RouteOp): NetlinkRequest
  /** Devices may have other indexes now. */
  forget(): void
}

type HotOp = Extract<RouteOp, { kind: 'neighbour.replace' | 'fdb.replace' | 'nexthop.replace' | 'route.replace' }>

/** Of one kind: a few devices, or prefixes of a few lengths, may take turns. */
const maxTemplates = 4

interface Template {
  readonly like: (op: HotOp) => boolean
  /** Puts the op's own values into a copy of the template that stands at `at`. */
  readonly fill: (buffer: Buffer, at: number, op: HotOp) => void
}

interface Ready extends Template {
  readonly type: number
  readonly flags: number
  readonly body: Uint8Array
}

/** `index` finds a device's number and throws ERR_NETLINK_ENODEV when there is none. */
export function openRequestMaker(index: (device: string) => number): RequestMaker {
  const ready: Record<HotOp['kind'], Ready[]> = none()
  const request = (op: RouteOp): NetlinkRequest => {
    if (!isHot(op)) return routeOpRequest(op, index)
    const templates = ready[op.kind]
    for (const template of templates) if (template.like(op)) return copyOf(template, op)
    const first = routeOpRequest(op, index)
    const made = makeTemplate(op, first)
    if (made !== undefined && templates.unshift(made) > maxTemplates) templates.pop()
    return first
  }
  return { request, forget: () => void Object.assign(ready, none()) }
}

function none(): Record<HotOp['kind'], Ready[]> {
  return { 'neighbour.replace': [], 'fdb.replace': [], 'nexthop.replace': [], 'route.replace': [] }
}

function isHot(op: RouteOp): op is HotOp {
  const { kind } = op
  return (
    kind === 'neighbour.replace' || kind === 'fdb.replace' || kind === 'nexthop.replace' || kind === 'route.replace'
  )
}

function copyOf({ type, flags, body, fill }: Ready, op: HotOp): NetlinkRequest {
  const write = (writer: Writer) => {
    const at = writer.reserve(body.length)
    const { buffer } = writer
    for (let i = 0; i < body.length; i++) buffer[at + i] = body[i] ?? 0 // cheaper than set() for 60 octets
    fill(buffer, at, op)
  }
  return { type, flags, write, describe: () => formatRouteOp(op) }
}

/** @returns undefined for an op that can't be one: its value does not fit, or it is of IPv6 */
function makeTemplate(op: HotOp, { type, flags, write }: NetlinkRequest): Ready | undefined {
  const writer = new Writer(256)
  try {
    write(writer)
  } catch {
    return undefined // the batch encodes it again, and reports why it can't be
  }
  const body = writer.copy()
  const template = templateOf(op, body)
  return template === undefined ? undefined : { type, flags, body, ...template }
}

function templateOf(op: HotOp, body: Buffer): Template | undefined {
  switch (op.kind) {
    case 'neighbour.replace':
      return neighbourTemplate(op.neighbour, body)
    case 'fdb.replace':
      return fdbTemplate(op.fdb, body)
    case 'nexthop.replace':
      return nexthopTemplate(op.nexthop, body)
    case 'route.replace':
      return routeTemplate(op.route, body)
    default:
      return op satisfies never
  }
}

type Of<Kind extends HotOp['kind']> = Extract<HotOp, { kind: Kind }>

function neighbourTemplate({ device, address }: Of<'neighbour.replace'>['neighbour'], body: Buffer) {
  if (!isIpv4(address)) return undefined
  const place = places(body, neighbourShape.header.size)
  const [addressAt, macAt] = [place(neighbourAttrs.fields.destination[0]), place(neighbourAttrs.fields.mac[0])]
  return {
    like: (op: HotOp) =>
      op.kind === 'neighbour.replace' && op.neighbour.device === device && isIpv4(op.neighbour.address),
    fill: (buffer: Buffer, at: number, op: HotOp) => {
      if (op.kind !== 'neighbour.replace') return
      putIpv4(buffer, at + addressAt, op.neighbour.address)
      putMac(buffer, at + macAt, op.neighbour.mac)
    },
  }
}

function fdbTemplate({ device, destination }: Of<'fdb.replace'>['fdb'], body: Buffer) {
  if (!isIpv4(destination)) return undefined
  const place = places(body, neighbourShape.header.size)
  const [destinationAt, macAt] = [place(neighbourAttrs.fields.destination[0]), place(neighbourAttrs.fields.mac[0])]
  return {
    like: (op: HotOp) => op.kind === 'fdb.replace' && op.fdb.device === device && isIpv4(op.fdb.destination),
    fill: (buffer: Buffer, at: number, op: HotOp) => {
      if (op.kind !== 'fdb.replace') return
      putIpv4(buffer, at + destinationAt, op.fdb.destination)
      putMac(buffer, at + macAt, op.fdb.mac)
    },
  }
}

function nexthopTemplate({ device, gateway, onlink, protocol }: Of<'nexthop.replace'>['nexthop'], body: Buffer) {
  if (gateway === undefined || !isIpv4(gateway)) return undefined
  const place = places(body, nexthopShape.header.size)
  const [idAt, gatewayAt] = [place(nexthopAttrs.fields.id[0]), place(nexthopAttrs.fields.gateway[0])]
  return {
    like: (op: HotOp) => {
      if (op.kind !== 'nexthop.replace') return false
      const { nexthop } = op
      const same = nexthop.device === device && nexthop.onlink === onlink && nexthop.protocol === protocol
      return same && nexthop.family === 4 && nexthop.gateway !== undefined && isIpv4(nexthop.gateway)
    },
    fill: (buffer: Buffer, at: number, op: HotOp) => {
      if (op.kind !== 'nexthop.replace' || op.nexthop.gateway === undefined) return
      buffer.writeUInt32LE(op.nexthop.id, at + idAt)
      putIpv4(buffer, at + gatewayAt, op.nexthop.gateway)
    },
  }
}

function routeTemplate(first: RouteSpec, body: Buffer) {
  const { destination, nexthopId } = first
  if (!isIpv4(destination) || nexthopId === undefined) return undefined
  const length = destination.slice(destination.indexOf('/'))
  const place = places(body, routeShape.header.size)
  const [destinationAt, nexthopAt] = [place(routeAttrs.fields.destination[0]), place(routeAttrs.fields.nexthopId[0])]
  return {
    like: (op: HotOp) =>
      op.kind === 'route.replace' &&
      op.route.nexthopId !== undefined &&
      op.route.destination.endsWith(length) &&
      isIpv4(op.route.destination) &&
      sameButPlaces(op.route, first),
    fill: (buffer: Buffer, at: number, op: HotOp) => {
      if (op.kind !== 'route.replace' || op.route.nexthopId === undefined) return
      putIpv4(buffer, at + destinationAt, op.route.destination.slice(0, -length.length))
      buffer.writeUInt32LE(op.route.nexthopId, at + nexthopAt)
    },
  }
}

/** All of a route but its destination and nexthop object. */
function sameButPlaces(a: RouteSpec, b: RouteSpec): boolean {
  return (
    a.preferredSource === b.preferredSource &&
    a.mtuBytes === b.mtuBytes &&
    a.metric === b.metric &&
    a.table === b.table &&
    a.protocol === b.protocol &&
    a.type === b.type &&
    a.scope === b.scope &&
    a.onlink === b.onlink &&
    a.device === b.device &&
    a.gateway === b.gateway
  )
}

function isIpv4(address: string): boolean {
  return !address.includes(':')
}

/** Where the value of an attribute stands in a body. */
function places(body: Buffer, headerBytes: number): (type: number) => number {
  const starts = new Map<number, number>()
  eachAttr(body, { start: headerBytes, end: body.length }, (type, start) => void starts.set(type, start))
  return (type) => starts.get(type) ?? 0
}
