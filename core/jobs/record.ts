import { type JobId, runIdOf, type RunId } from './ids.ts'
import { withFinished } from './job.ts'
import { isTriggered, newRun, type Start } from './plan.ts'
import { finishedRunOf, type Run } from './run.ts'
import { type Draft } from './world.ts'

/** What a new run is made with. */
export interface Making {
  /** Wall clock. */
  readonly nowMs: number
  readonly newId: () => string
}

/** Puts the next state of a run into the draft; when the run is over: its history, and runs of jobs that waited for it. */
export function recordRun(draft: Draft, next: Run, making: Making): void {
  const { outcome } = next
  const finished = finishedRunOf(next)
  if (outcome === undefined || finished === undefined) {
    draft.putRun(next)
    return
  }
  draft.removeRun(next)
  const job = draft.job(next.jobId)
  if (job === undefined) return // the job was removed while it ran
  draft.putJob({ ...job, history: withFinished(job.history, outcome.kind, finished) })
  if (outcome.kind === 'success') startDependents(draft, next.jobId, making)
}

function startDependents(draft: Draft, id: JobId, making: Making): void {
  const successesOf = (job: JobId) => draft.job(job)?.history.successCount ?? 0
  for (const record of draft.dependentsOf(id)) {
    if (!isTriggered(record, successesOf)) continue
    const { dependencies } = record.definition
    const seenSuccesses = Object.fromEntries(
      dependencies.map((dependency) => [dependency.id, successesOf(dependency.id)]),
    )
    draft.putJob({ ...record, seenSuccesses })
    makeRun(draft, record.definition.id, making)
  }
}

/** Makes a run of a job, and puts it into the draft. The job must exist. */
export function makeRun(draft: Draft, id: JobId, making: Making & { readonly start?: Start }): Run | undefined {
  const record = draft.job(id)
  if (record === undefined) return undefined
  const { nowMs, start } = making
  const run = newRun(record, { id: freeId(draft, id, making), nowMs, ...(start === undefined ? {} : { start }) })
  draft.putRun(run)
  return run
}

/** Five characters are few: two runs of one second must not be one. */
function freeId(draft: Draft, job: JobId, { nowMs, newId }: Making): RunId {
  for (;;) {
    const id = runIdOf(nowMs, newId())
    if (draft.run(job, id) === undefined) return id
  }
}
