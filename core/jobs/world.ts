import { type StoreWrite } from '../store/store.ts'
import { type JobId, type RunId } from './ids.ts'
import { type JobRecord } from './job.ts'
import { formatJob, formatRun, jobKey, runKey } from './records.ts'
import { type Run } from './run.ts'

/** What is known of jobs and of runs that are not over. */
export interface WorldView {
  job(id: JobId): JobRecord | undefined
  run(job: JobId, id: RunId): Run | undefined
  /** In the order of their making. */
  runsOf(job: JobId): readonly Run[]
  jobs(): Iterable<JobRecord>
  runs(): Iterable<Run>
  /** Jobs that name this one as a dependency. */
  dependentsOf(job: JobId): readonly JobRecord[]
}

/** Changes over a world that are not in it yet. */
export interface Draft extends WorldView {
  putJob(record: JobRecord): void
  removeJob(id: JobId): void
  putRun(run: Run): void
  removeRun(run: Run): void
  writes(): readonly StoreWrite[]
}

/** What is written. */
export interface World extends WorldView {
  /** Makes the changes of a draft its own. */
  apply(draft: Draft): void
  /** What the store had. */
  load(jobs: readonly JobRecord[], runs: readonly Run[]): void
}

interface Changes {
  readonly jobs: Map<JobId, JobRecord | undefined>
  readonly runs: Map<string, { readonly run: Run; readonly kept: boolean }>
}

const changesOf = Symbol('changes')
interface OwnDraft extends Draft {
  readonly [changesOf]: Changes
}

/** An empty world. */
export function makeWorld(): World {
  const jobs = new Map<JobId, JobRecord>()
  const runs = new Map<JobId, Map<RunId, Run>>()
  const view = viewOf({
    jobs: () => jobs.values(),
    job: (id) => jobs.get(id),
    runsOf: (id) => [...(runs.get(id)?.values() ?? [])],
    runs: () => [...runs.values()].flatMap((of) => [...of.values()]),
  })
  const putJob = (id: JobId, record: JobRecord | undefined) =>
    record === undefined ? jobs.delete(id) : jobs.set(id, record)
  const putRun = (run: Run, kept: boolean) => {
    const of = runs.get(run.jobId) ?? new Map<RunId, Run>()
    runs.set(run.jobId, of)
    if (kept) of.set(run.id, run)
    else of.delete(run.id)
    if (of.size === 0) runs.delete(run.jobId)
  }
  return {
    ...view,
    run: (job, id) => runs.get(job)?.get(id),
    apply: (draft) => {
      if (!isOwn(draft)) return
      for (const [id, record] of draft[changesOf].jobs) putJob(id, record)
      for (const { run, kept } of draft[changesOf].runs.values()) putRun(run, kept)
    },
    load: (records, known) => {
      for (const record of records) putJob(record.definition.id, record)
      for (const run of known.toSorted((a, b) => a.createdAtMs - b.createdAtMs)) putRun(run, true)
    },
  }
}

function isOwn(draft: Draft): draft is OwnDraft {
  return changesOf in draft
}

/** A draft without changes. */
export function openDraft(world: World): Draft {
  const changes: Changes = { jobs: new Map(), runs: new Map() }
  const keyOf = (job: JobId, id: RunId) => `${job} ${id}`
  const job = (id: JobId) => (changes.jobs.has(id) ? changes.jobs.get(id) : world.job(id))
  const overlaid = (known: Iterable<Run>, wanted: (run: Run) => boolean): readonly Run[] => {
    const old = [...known].filter((run) => !changes.runs.has(keyOf(run.jobId, run.id)))
    const own = [...changes.runs.values()].flatMap(({ run, kept }) => (kept && wanted(run) ? [run] : []))
    return own.length === 0 ? old : [...old, ...own].toSorted((a, b) => a.createdAtMs - b.createdAtMs)
  }
  const view = viewOf({
    job,
    jobs: () => {
      const added = [...changes.jobs].flatMap(([id, record]) =>
        record === undefined || world.job(id) !== undefined ? [] : [record],
      )
      return [...[...world.jobs()].flatMap(({ definition }) => job(definition.id) ?? []), ...added]
    },
    runsOf: (id) => overlaid(world.runsOf(id), (run) => run.jobId === id),
    runs: () => overlaid(world.runs(), () => true),
  })
  const draft: OwnDraft = {
    ...view,
    [changesOf]: changes,
    run: (of, id) => {
      const change = changes.runs.get(keyOf(of, id))
      if (change === undefined) return world.run(of, id)
      return change.kept ? change.run : undefined
    },
    putJob: (record) => void changes.jobs.set(record.definition.id, record),
    removeJob: (id) => void changes.jobs.set(id, undefined),
    putRun: (run) => void changes.runs.set(keyOf(run.jobId, run.id), { run, kept: true }),
    removeRun: (run) => void changes.runs.set(keyOf(run.jobId, run.id), { run, kept: false }),
    writes: () => writesOf(changes, world),
  }
  return draft
}

/** What a run's record has not is not written: a task's way to its start. */
function writesOf({ jobs, runs }: Changes, world: World): readonly StoreWrite[] {
  const ofJobs = [...jobs].map(([id, record]) => ({
    key: jobKey(id),
    value: record === undefined ? undefined : formatJob(record),
  }))
  const ofRuns = [...runs.values()].flatMap(({ run, kept }) => {
    const known = world.run(run.jobId, run.id)
    const before = known === undefined ? undefined : formatRun(known)
    const value = kept ? formatRun(run) : undefined
    return value === before ? [] : [{ key: runKey(run), value }]
  })
  return [...ofJobs, ...ofRuns]
}

function viewOf(parts: Omit<WorldView, 'dependentsOf' | 'run'>): Omit<WorldView, 'run'> {
  return {
    ...parts,
    dependentsOf: (id) =>
      [...parts.jobs()].filter(({ definition }) => definition.dependencies.some((other) => other.id === id)),
  }
}
