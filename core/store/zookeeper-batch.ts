import { type AppError } from '../base/errors.ts'
import { conflictError } from './errors.ts'
import { type StoreWrite } from './store.ts'
import { type ZkOp } from './zookeeper-client.ts'

/** Several batches on their way to one multi: each is decided on top of those before it. Pure. */
export interface Staging {
  /** Adds a batch as a whole, or nothing of it. @returns why not */
  add(writes: readonly StoreWrite[], revision: number): AppError | undefined
  /** The steps that make all of it so. */
  ops(): readonly ZkOp[]
}

interface Staged {
  readonly existed: boolean
  readonly value: string | undefined
  readonly revision: number
}

/** `found`: the revisions of the keys that exist, of all keys that the batches name. */
export function openStaging(found: ReadonlyMap<string, number>, nodeOf: (key: string) => string): Staging {
  const staged = new Map<string, Staged>()
  const revisionOf = (key: string) => staged.get(key)?.revision ?? found.get(key) ?? 0
  const add = (writes: readonly StoreWrite[], revision: number): AppError | undefined => {
    for (const { key, revision: expected } of writes) {
      const present = revisionOf(key)
      if (expected !== undefined && expected !== present) return conflictError(key, expected, present)
    }
    for (const { key, value } of writes) {
      staged.set(key, { existed: found.has(key), value, revision: value === undefined ? 0 : revision })
    }
    return undefined
  }
  const ops = () =>
    [...staged].flatMap(([key, { existed, value, revision }]): readonly ZkOp[] => {
      const path = nodeOf(key)
      if (value === undefined) return existed ? [{ kind: 'remove', path }] : []
      const data = `${revision}\n${value}`
      return [existed ? { kind: 'set', path, data } : { kind: 'create', path, data }]
    })
  return { add, ops }
}

/** About the bytes that a batch takes in a request, from above: escaping at most triples the bytes of a key. */
export function batchBytes(writes: readonly StoreWrite[]): number {
  return writes.reduce(
    (sum, { key, value }) => sum + 160 + 3 * Buffer.byteLength(key) + Buffer.byteLength(value ?? ''),
    0,
  )
}
