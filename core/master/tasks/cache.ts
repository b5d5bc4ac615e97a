import { z } from 'zod'
import { decodeAgentTask, encodeAgentTask } from '../../api/convert-agent.ts'
import { decodeTaskStatus, encodeTaskStatus } from '../../api/convert-task.ts'
import { AgentTask, TaskStatus } from '../../api/gen/cluster.ts'
import { type MasterTask } from './state.ts'

/** The task itself is kept as on the wire (base64), so that there is one codec for it and not two. */
const schema = z.object({
  task: z.base64(),
  role: z.string(),
  killing: z.object({ graceMs: z.number(), sinceMs: z.number().optional(), toldMs: z.number().optional() }).optional(),
  unacknowledged: z.base64().optional(),
})

/** A task as the text that the store keeps. */
export function formatCachedTask({ info, frameworkId, role, status, killing, unacknowledged }: MasterTask): string {
  const task = AgentTask.encode(encodeAgentTask({ frameworkId, info, latest: status })).finish()
  const update =
    unacknowledged === undefined
      ? undefined
      : base64(TaskStatus.encode(encodeTaskStatus(unacknowledged, frameworkId)).finish())
  return JSON.stringify({ task: base64(task), role, killing, unacknowledged: update })
}

/** Undefined for a text that this version can't read. */
export function parseCachedTask(text: string): MasterTask | undefined {
  try {
    const { task, role, killing, unacknowledged } = schema.parse(JSON.parse(text))
    const { info, frameworkId, latest } = decodeAgentTask(AgentTask.decode(Buffer.from(task, 'base64')))
    const update = unacknowledged === undefined ? undefined : TaskStatus.decode(Buffer.from(unacknowledged, 'base64'))
    return {
      info,
      frameworkId,
      role,
      status: latest,
      ...(killing === undefined ? {} : { killing }),
      ...(update === undefined ? {} : { unacknowledged: decodeTaskStatus(update, 'unacknowledged') }),
    }
  } catch {
    return undefined // a ZodError, a SyntaxError, ERR_API_INVALID, a RangeError of the wire format: all mean the same
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
