import { Cron } from 'croner'
import { errorMessage } from '../base/errors.ts'

/**
 * When a schedule is due. What a change to or from summer time does:
 * - A pattern with one minute and one hour (`30 2 * * *`) is due once a day. When that time does not exist it is due at the
 *   first time that does (03:00 for 02:30 where 02:00 becomes 03:00); when it exists twice, the first time only.
 * - Any other pattern (`0 * * * *`, `*` `/15 2 * * *`) is due at each such time that exists: skipped times are left out, repeated
 *   ones are due both times.
 * That is the rule of Vixie cron, as the library croner has it.
 */
export interface CronRule {
  /** Five fields, or a nickname like `@daily`. */
  readonly cron: string
  /** IANA. */
  readonly timezone: string
}

const hourMs = 3_600_000
/** Thirty years and some: as far as the search for the last due time looks back. */
const farthestMs = hourMs * 2 ** 18

/** Why the pattern can't be taken; undefined when it can. Also for those that are never due (30 February). */
export function cronProblem(cron: string): string | undefined {
  try {
    const next = open({ cron, timezone: 'UTC' }).nextRun()
    return next === null ? 'is never due' : undefined
  } catch (error) {
    return `is not a cron pattern of five fields: ${errorMessage(error).replace(/^CronPattern: /, '')}`
  }
}

/** Why the time zone can't be taken; undefined when it can. */
export function timezoneProblem(timezone: string): string | undefined {
  try {
    // An offset like "+02:00" is understood too, but it is no zone.
    if (!/^[A-Za-z]/.test(timezone)) return 'is not the name of a time zone, like Europe/Berlin'
    new Intl.DateTimeFormat('en', { timeZone: timezone })
    return undefined
  } catch {
    return 'is not a time zone that is known here: use an IANA name, like Europe/Berlin' // RangeError
  }
}

/** The first due time after `afterMs` (wall clock); undefined when there is none any more. */
export function nextDueMs(rule: CronRule, afterMs: number): number | undefined {
  return open(rule).nextRun(new Date(afterMs))?.getTime()
}

/** The last due time in (`afterMs`, `untilMs`]; undefined when there is none. */
export function lastDueMs(
  rule: CronRule,
  { afterMs, untilMs }: { afterMs: number; untilMs: number },
): number | undefined {
  const cron = open(rule)
  // The part looked at doubles, so that neither a pattern of every minute nor one of every leap year costs much.
  for (let lengthMs = hourMs; lengthMs <= farthestMs; lengthMs *= 2) {
    const fromMs = Math.max(afterMs, untilMs - lengthMs)
    let found: number | undefined
    for (let next = cron.nextRun(new Date(fromMs)); next !== null; next = cron.nextRun(next)) {
      if (next.getTime() > untilMs) break
      found = next.getTime()
    }
    if (found !== undefined || fromMs === afterMs) return found
  }
  return undefined
}

function open({ cron, timezone }: CronRule): Cron {
  return new Cron(cron, { paused: true, timezone, mode: '5-part' })
}
