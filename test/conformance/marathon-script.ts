import { creation, information, lists, updates } from './marathon-apps.ts'
import { groups } from './marathon-groups.ts'
import { refused } from './marathon-invalid.ts'
import { pods } from './marathon-pods.ts'
import { type Step } from './marathon-step.ts'
import { deprecated, ends, killing, versions, waiting } from './marathon-tasks.ts'

/** All requests, in order. */
export const marathonScript: readonly Step[] = [
  ...[...information, ...creation, ...lists, ...updates, ...versions],
  ...[...waiting, ...killing, ...refused, ...deprecated, ...ends, ...pods, ...groups],
]
