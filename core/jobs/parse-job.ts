import { type z } from 'zod'
import { errorMessage, hasCode } from '../base/errors.ts'
import { isObject, type JsonObject, withoutNulls } from '../scheduling/json.ts'
import { type Finding, formatPath } from '../scheduling/problem.ts'
import { type CheckContext, checkJob } from './check.ts'
import { cronProblem, timezoneProblem } from './cron.ts'
import { parseJobId, parseScheduleId } from './ids.ts'
import { type JobDefinition, type Schedule } from './job.ts'
import { invalidJob } from './problem.ts'
import { type JobFields, jobSchema, scheduleSchema } from './schema.ts'
import { withoutUnsupported } from './unsupported.ts'

/**
 * A job from a request's body, every default filled in.
 * @throws ERR_JOBS_INVALID with each problem and its path; nothing else
 */
export function parseJob(body: unknown, context: CheckContext): JobDefinition {
  const value = requireObject(withoutNulls(body))
  const { kept, refused } = withoutUnsupported(value)
  const parsed = jobSchema.safeParse(kept)
  if (!parsed.success) throw invalidJob([...refused, ...parsed.error.issues.flatMap(issueFindings)])
  const found = [...refused]
  const id = tryParse(() => parseJobId(parsed.data.id), { path: '/id', found })
  const dependencies = parsed.data.dependencies.flatMap((dependency, i) => {
    const job = tryParse(() => parseJobId(dependency.id), { path: `/dependencies(${i})/id`, found })
    return job === undefined ? [] : [{ id: job }]
  })
  const definition = id === undefined ? undefined : { ...withNetworks(parsed.data), id, dependencies }
  found.push(...checkJob(parsed.data, definition, context))
  if (definition === undefined || found.length > 0) throw invalidJob(found)
  return definition
}

/** No network said: the host's. */
function withNetworks(fields: JobFields): JobFields {
  if (fields.run.networks.length > 0) return fields
  return { ...fields, run: { ...fields.run, networks: [{ mode: 'host', labels: {} }] } }
}

/**
 * A schedule from a request's body.
 * @throws ERR_JOBS_INVALID with each problem and its path; nothing else
 */
export function parseSchedule(body: unknown): Schedule {
  const { nextRunAt, ...value } = requireObject(withoutNulls(body)) // of an answer that is sent back
  const parsed = scheduleSchema.safeParse(value)
  if (!parsed.success) throw invalidJob(parsed.error.issues.flatMap(issueFindings))
  const found: Finding[] = []
  const id = tryParse(() => parseScheduleId(parsed.data.id), { path: '/id', found })
  const cron = cronProblem(parsed.data.cron)
  if (cron !== undefined) found.push({ path: '/cron', error: cron })
  const timezone = timezoneProblem(parsed.data.timezone)
  if (timezone !== undefined) found.push({ path: '/timezone', error: timezone })
  if (id === undefined || found.length > 0) throw invalidJob(found)
  return { ...parsed.data, id }
}

function requireObject(value: unknown): JsonObject {
  if (!isObject(value)) throw invalidJob([{ path: '/', error: 'must be a JSON object' }])
  return value
}

function tryParse<Value>(
  parse: () => Value,
  { path, found }: { readonly path: string; readonly found: Finding[] },
): Value | undefined {
  try {
    return parse()
  } catch (error) {
    if (!hasCode(error, 'ERR_JOBS_ID')) throw error
    found.push({ path, error: errorMessage(error) })
    return undefined
  }
}

function issueFindings(issue: z.core.$ZodIssue): readonly Finding[] {
  if (issue.code !== 'unrecognized_keys') return [{ path: formatPath(issue.path), error: issue.message }]
  return issue.keys.map((key) => ({
    path: formatPath([...issue.path, key]),
    error: 'is not a field that exists here',
  }))
}
