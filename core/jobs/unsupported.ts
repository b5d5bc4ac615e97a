import { isObject, type JsonObject } from '../scheduling/json.ts'
import { type Finding } from '../scheduling/problem.ts'

const isEmpty = (value: unknown): boolean =>
  (Array.isArray(value) && value.length === 0) || (isObject(value) && Object.keys(value).length === 0)

/** Metronome's answers carry these (`embed`): a client that sends back what it read asks for nothing by them. */
const answerFields: ReadonlySet<string> = new Set(['schedules', 'activeRuns', 'history', 'historySummary'])

/**
 * The body without fields that ask for nothing, and what must be said of those of Metronome that this version lacks:
 * refused by name, never ignored.
 */
export function withoutUnsupported(body: JsonObject): {
  readonly kept: JsonObject
  readonly refused: readonly Finding[]
} {
  const refused: Finding[] = []
  const kept = Object.fromEntries(Object.entries(body).filter(([field]) => !answerFields.has(field)))
  const run = kept['run']
  return { kept: isObject(run) ? { ...kept, run: cleanRun(run, refused) } : kept, refused }
}

function cleanRun(run: JsonObject, refused: Finding[]): JsonObject {
  const { secrets, ...rest } = run
  if (secrets !== undefined && !isEmpty(secrets)) refused.push({ path: '/run/secrets', error: 'are not supported' })
  return {
    ...rest,
    ...cleaned(rest, 'env', (env) => (isObject(env) ? cleanEnv(env, refused) : env)),
    ...cleaned(rest, 'volumes', (volumes) => cleanVolumes(volumes, refused)),
    ...cleaned(rest, 'docker', (docker) => cleanDocker(docker, refused)),
    ...cleaned(rest, 'ucr', (ucr) => cleanUcr(ucr, refused)),
  }
}

function cleaned(run: JsonObject, field: string, clean: (value: unknown) => unknown): JsonObject {
  return run[field] === undefined ? {} : { [field]: clean(run[field]) }
}

function cleanEnv(env: JsonObject, refused: Finding[]): JsonObject {
  const kept = Object.entries(env).filter(([name, value]) => {
    if (!isObject(value) || !('secret' in value)) return true
    refused.push({ path: `/run/env(${name})`, error: 'secrets are not supported: give the value' })
    return false
  })
  return Object.fromEntries(kept)
}

function cleanVolumes(volumes: unknown, refused: Finding[]): unknown {
  if (!Array.isArray(volumes)) return volumes
  return volumes.filter((volume: unknown, i) => {
    if (!isObject(volume) || volume['secret'] === undefined) return true
    refused.push({ path: `/run/volumes(${i})/secret`, error: 'secrets are not supported' })
    return false
  })
}

function cleanDocker(docker: unknown, refused: Finding[]): unknown {
  if (!isObject(docker)) return docker
  const { parameters, ...rest } = docker
  if (parameters !== undefined && !isEmpty(parameters)) {
    refused.push({ path: '/run/docker/parameters', error: 'are not supported' })
  }
  return rest
}

function cleanUcr(ucr: unknown, refused: Finding[]): unknown {
  if (!isObject(ucr)) return ucr
  const { privileged, ...rest } = ucr
  if (privileged !== undefined && privileged !== false) {
    refused.push({ path: '/run/ucr/privileged', error: 'is not supported: use docker' })
  }
  return rest
}
