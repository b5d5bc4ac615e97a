import { constraintProblem } from '../scheduling/constraints.ts'
import { type Finding } from '../scheduling/problem.ts'
import { type JobId } from './ids.ts'
import { type JobDefinition } from './job.ts'
import { isCircular } from './plan.ts'
import { constraintsOf } from './place.ts'
import { type JobFields } from './schema.ts'

/** What the rest of the cluster says on a job. */
export interface CheckContext {
  readonly networkNames: ReadonlySet<string>
  /** What a job depends on; undefined for a job that does not exist. */
  dependenciesOf(job: JobId): readonly JobId[] | undefined
}

/** What is wrong across the fields of a job whose single fields are right. `definition`: when its ids are right too. */
export function checkJob(
  { run }: JobFields,
  definition: JobDefinition | undefined,
  context: CheckContext,
): readonly Finding[] {
  return [
    ...checkCommand(run),
    ...checkContainer(run),
    ...checkNetworks(run.networks, context.networkNames),
    ...checkConstraints(run),
    ...(definition === undefined ? [] : checkDependencies(definition, context)),
  ]
}

function finding(path: string, error: string | undefined): readonly Finding[] {
  return error === undefined ? [] : [{ path, error }]
}

function checkCommand({ cmd, args, docker, ucr }: JobFields['run']): readonly Finding[] {
  if (cmd !== undefined && args !== undefined) return finding('/run/args', 'give cmd or args, not both')
  const hasImage = docker !== undefined || ucr !== undefined
  return finding(
    '/run/cmd',
    cmd === undefined && args === undefined && !hasImage ? 'give cmd or args: what to run' : undefined,
  )
}

function checkContainer({ docker, ucr, volumes }: JobFields['run']): readonly Finding[] {
  const both = docker !== undefined && ucr !== undefined ? 'give docker or ucr, not both' : undefined
  const twice = volumes.findIndex(({ containerPath }, i) =>
    volumes.slice(0, i).some((other) => other.containerPath === containerPath),
  )
  return [
    ...finding('/run/ucr', both),
    ...finding(`/run/volumes(${twice})/containerPath`, twice < 0 ? undefined : 'is given twice'),
  ]
}

function checkNetworks(networks: JobFields['run']['networks'], known: ReadonlySet<string>): readonly Finding[] {
  const modes = new Set(networks.map(({ mode }) => mode))
  const mixed = modes.size > 1 ? 'modes cannot be mixed' : undefined
  const hosts =
    modes.has('host') && networks.length > 1 && modes.size === 1 ? 'host mode can be given once only' : undefined
  return [
    ...finding('/run/networks', mixed ?? hosts),
    ...networks.flatMap(({ mode, name }, i) => {
      const path = `/run/networks(${i})`
      if (mode === 'container/bridge') return finding(`${path}/mode`, 'is not supported: use "container" and a name')
      if (mode === 'host') return finding(`${path}/name`, name === undefined ? undefined : 'host mode has no name')
      if (name === undefined) return finding(`${path}/name`, 'give the name of a network')
      const isTwice = networks.slice(0, i).some((other) => other.name === name)
      if (isTwice) return finding(`${path}/name`, `"${name}" is given twice`)
      const names = [...known].toSorted().join(', ')
      return finding(`${path}/name`, known.has(name) ? undefined : `there is no network "${name}"; there are: ${names}`)
    }),
  ]
}

function checkConstraints(run: JobFields['run']): readonly Finding[] {
  return constraintsOf(run).flatMap((constraint, i) =>
    finding(`/run/placement/constraints(${i})`, constraintProblem(constraint)),
  )
}

function checkDependencies({ id, dependencies }: JobDefinition, context: CheckContext): readonly Finding[] {
  const own = dependencies.map((dependency) => dependency.id)
  const unknown = dependencies.flatMap((dependency, i) => {
    const path = `/dependencies(${i})/id`
    if (own.indexOf(dependency.id) < i) return finding(path, 'is given twice')
    if (dependency.id === id) return finding(path, 'a job cannot depend on itself')
    const exists = context.dependenciesOf(dependency.id) !== undefined
    return finding(path, exists ? undefined : `there is no job "${dependency.id}"`)
  })
  if (unknown.length > 0) return unknown
  const of = (job: JobId) => (job === id ? own : (context.dependenciesOf(job) ?? []))
  return finding('/dependencies', isCircular(id, of) ? 'lead in a circle back to this job' : undefined)
}
