import { randomBytes } from 'node:crypto'

/** The task's (or executor's) id as far as it is short, so that a person finds it, and 32 random bits: used once. */
export function newContainerId(id: string): string {
  return `${id.slice(0, 64)}-${randomBytes(4).toString('hex')}`
}
