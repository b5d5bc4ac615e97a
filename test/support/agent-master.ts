import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import { decodeAgentMessage, encodeAgentCommand } from '../../core/api/convert-agent.ts'
import { AgentsService, type AgentCommand, type AgentMessage } from '../../core/api/gen/cluster.ts'
import {
  type AgentMessage as AgentSaying,
  type AgentOrder,
  type AgentReport,
  type Registration,
} from '../../core/api/messages.ts'
import { type FrameworkId, parseAgentId, parseFrameworkId, type TaskId } from '../../core/model/ids.ts'
import { type TaskInfo, type TaskStatus } from '../../core/model/task.ts'

/** A scripted master on loopback: orders what a test says, remembers what agents say, acknowledges if told so. */
export interface ScriptedMaster {
  readonly address: string
  readonly registrations: readonly Registration[]
  /** Every update, in order, repetitions included. */
  readonly updates: readonly TaskStatus[]
  readonly healths: readonly { readonly taskId: TaskId; readonly healthy: boolean }[]
  /** What else it said, updates included. */
  readonly reports: readonly AgentReport[]
  acknowledging: boolean
  /** Of its orders, unless one says otherwise. */
  term: number
  /** Of every {@link ScriptedMaster.launch}. */
  readonly framework: FrameworkId
  order(order: AgentOrder, term?: number): void
  launch(...tasks: readonly TaskInfo[]): void
  /** Resolves with the first truthy answer of `look`, asked again after each message. @throws after `timeoutMs` */
  until<T>(what: string, look: () => T | undefined | false, timeoutMs?: number): Promise<T>
  /** The task's first update in that state. */
  status(taskId: string, state: string): Promise<TaskStatus>
  close(): void
}

const scriptedFramework = parseFrameworkId('11111111-2222-3333-4444-555555555555-0000')

/** Opens one on a free port of loopback. */
export async function openScriptedMaster(): Promise<ScriptedMaster> {
  const server = new Server()
  const registrations: Registration[] = []
  const updates: TaskStatus[] = []
  const healths: { readonly taskId: TaskId; readonly healthy: boolean }[] = []
  const reports: AgentReport[] = []
  const waiters = new Set<() => void>()
  let live: ServerDuplexStream<AgentMessage, AgentCommand> | undefined
  const order = (what: AgentOrder, term = master.term) => live?.write(encodeAgentCommand({ ...what, term }))
  const hear = (message: AgentSaying) => {
    if (message.kind !== 'register') reports.push(message)
    if (message.kind === 'register') {
      registrations.push(message.registration)
      order({ kind: 'registered', agentId: parseAgentId('master-S0'), pingIntervalMs: 15_000 })
    } else if (message.kind === 'update') {
      updates.push(message.status)
      const { taskId, uuid } = message.status
      if (master.acknowledging && uuid !== undefined) order({ kind: 'acknowledge', taskId, uuid })
    } else if (message.kind === 'health') healths.push(message)
    for (const waiter of waiters) waiter()
  }
  server.addService(AgentsService, {
    session: (call: ServerDuplexStream<AgentMessage, AgentCommand>) => {
      live = call
      call.on('error', () => undefined) // the agent was killed: that is what tests do
      call.on('end', () => call.end())
      call.on('data', (message: AgentMessage) => {
        const said = decodeAgentMessage(message)
        if (said !== undefined) hear(said)
      })
    },
  })
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  )
  const until = <T>(what: string, look: () => T | undefined | false, timeoutMs = 30_000) =>
    new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        waiters.delete(check)
        const seen = updates.map(({ taskId, state, message }) => `${taskId} ${state} ${message ?? ''}`)
        reject(new Error(`${what} did not come; updates: ${seen.join(', ')}`))
      }, timeoutMs)
      const check = () => {
        const answer = look()
        if (answer === undefined || answer === false) return
        clearTimeout(timer)
        waiters.delete(check)
        resolve(answer)
      }
      waiters.add(check)
      check()
    })
  const master: ScriptedMaster = {
    address: `127.0.0.1:${port}`,
    registrations,
    updates,
    healths,
    reports,
    acknowledging: true,
    term: 1,
    framework: scriptedFramework,
    order,
    launch: (...tasks) => order({ kind: 'launch', frameworkId: scriptedFramework, tasks }),
    until,
    status: (taskId, state) =>
      until(`${taskId} ${state}`, () => updates.find((each) => each.taskId === taskId && each.state === state)),
    close: () => server.forceShutdown(),
  }
  return master
}
