import { type AppRecord, type Deployment } from './app.ts'
import { type AppId } from './ids.ts'
import { type JsonObject } from '../scheduling/json.ts'
import { formatVersion } from './version.ts'

/** What one app or one instance of a deployment waits for. */
export interface WaitingFor {
  readonly app: AppId
  /** Absent: the app as a whole, or instances that are not there yet. */
  readonly instance?: string
  /** `offer: …`, `address`, `start: …`, `health: …`, `convergence: node …`, `end`, `dependency /db`, … */
  readonly for: string
}

type Part = AppRecord & { readonly deployment: Deployment }

const isPart = (record: AppRecord): record is Part => record.deployment !== undefined

/** The steps of a deployment, in order, each with its actions. Source: marathon, raml deployment. */
export function stepsJson(records: readonly AppRecord[]): readonly JsonObject[] {
  const parts = records.filter(isPart)
  const last = parts.reduce((max, { deployment }) => Math.max(max, deployment.step), 0)
  const steps = Array.from({ length: last }, (_, i) => parts.filter(({ deployment }) => deployment.step === i + 1))
  return steps.filter((step) => step.length > 0).map((step) => ({ actions: step.map(actionJson) }))
}

function actionJson({ definition, deployment }: Part): JsonObject {
  return { action: deployment.action, [definition.pod === undefined ? 'app' : 'pod']: definition.id }
}

function idsOf(records: readonly AppRecord[], kind: 'app' | 'pod'): readonly AppId[] {
  return records.flatMap(({ definition: { id, pod } }) => ((pod === undefined ? 'app' : 'pod') === kind ? [id] : []))
}

/** A deployment as GET /v2/deployments has it; `waitingFor` is ours. */
export function deploymentJson(
  id: string,
  { records, waitingFor }: { readonly records: readonly AppRecord[]; readonly waitingFor: readonly WaitingFor[] },
): JsonObject {
  const parts = records.filter(isPart)
  const steps = stepsJson(records)
  const open = parts.filter(({ deployment }) => deployment.state !== 'done')
  const current = open.reduce((min, { deployment }) => Math.min(min, deployment.step), Math.max(1, steps.length))
  const now = parts.filter(({ deployment }) => deployment.step === current)
  return {
    id,
    version: formatVersion(records.reduce((max, { version }) => Math.max(max, version), 0)),
    affectedApps: idsOf(records, 'app'),
    affectedPods: idsOf(records, 'pod'),
    steps,
    currentActions: now.map((part) => ({ ...actionJson(part), readinessCheckResults: [] })),
    currentStep: current,
    totalSteps: steps.length,
    waitingFor,
  }
}
