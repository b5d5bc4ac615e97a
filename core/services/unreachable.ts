import { type AppDefinition } from './app.ts'
import { type Instance } from './instance.ts'

/** What of an app decides what becomes of instances whose agent is out of reach. */
export type UnreachableFields = Pick<AppDefinition, 'unreachableStrategy'>

/**
 * When an unreachable instance is replaced, and when it is forgotten (monotonic): what comes back after that is one too many.
 * Never: infinity. An `expungeAfterSeconds` of 0, the default, forgets nothing: the master says when a task is gone for good,
 * and one that comes back before that may be the one that stays.
 * Source: marathon, types/unreachableStrategy.raml.
 */
export function unreachableTimes(
  { unreachableStrategy: strategy }: UnreachableFields,
  { phase }: Pick<Instance, 'phase'>,
): { readonly replaceAtMs: number; readonly forgetAtMs: number } {
  const never = Number.POSITIVE_INFINITY
  if (phase.kind !== 'unreachable' || strategy === 'disabled') return { replaceAtMs: never, forgetAtMs: never }
  const { inactiveAfterSeconds, expungeAfterSeconds } = strategy
  return {
    replaceAtMs: phase.sinceMs + inactiveAfterSeconds * 1000,
    forgetAtMs: expungeAfterSeconds === 0 ? never : phase.sinceMs + expungeAfterSeconds * 1000,
  }
}

/** True for an instance that is out of reach, wanted, and not to be replaced yet: it counts as one of the app's. */
export function isAwaited(app: UnreachableFields, instance: Instance, nowMs: number): boolean {
  const { phase, goal } = instance
  return phase.kind === 'unreachable' && goal.kind === 'run' && nowMs < unreachableTimes(app, instance).replaceAtMs
}
