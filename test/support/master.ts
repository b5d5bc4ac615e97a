import { openAgentSession } from '../../core/api/session.ts'
import { type AgentTask } from '../../core/api/messages.ts'
import { type SnapshotWatch, watchSnapshots } from '../../core/api/client.ts'
import { type Clock, systemClock } from '../../core/base/clock.ts'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { type GrpcServer, leaderServices, openGrpcServer } from '../../core/master/grpc/server.ts'
import { type Master, openMaster } from '../../core/master/master.ts'
import { type DrainTimes } from '../../core/master/tasks/drains.ts'
import { type Profile, profileOf } from '../../core/master/networks/profile.ts'
import { type AgentId, type FrameworkId, parseNetworkName, parseNodeName, type TaskId } from '../../core/model/ids.ts'
import { type Resources } from '../../core/model/resources.ts'
import { type FrameworkInfo, type SchedulerCall, type SchedulerEvent } from '../../core/model/scheduler.ts'
import { type ClusterSnapshot, emptySnapshot } from '../../core/model/snapshot.ts'
import { type TaskInfo, type TaskState, type TaskStatus } from '../../core/model/task.ts'
import { type Store } from '../../core/store/store.ts'

/** Longest time that a test waits for anything; none comes near. */
const patienceMs = 20_000

/** Resolves when `condition` holds; it is looked at after each turn of events, a few times a millisecond at most. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${patienceMs} ms for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** What an agent of a test has, unless it says otherwise. */
export const agentResources: Resources = {
  cpuMillis: 2_000,
  memMb: 1_024,
  diskMb: 4_096,
  ports: [{ begin: 31_000, end: 31_099 }],
}

/** A master that serves gRPC on loopback. */
export interface TestMaster extends Master {
  readonly grpc: GrpcServer
  readonly address: string
  /** Ends it as a crash does: streams break, nothing is flushed. */
  crash(): Promise<void>
  /** Ends it, and lets the next one have the same open store. */
  abdicate(): Promise<void>
}

let masters = 0

/** What a test may want otherwise; `port`: to come back where an earlier one was. */
interface MasterOptions {
  port?: number
  pingIntervalMs?: number
  drainTimes?: Partial<DrainTimes>
  profile?: Profile
  clock?: Clock
}

/** Opens a master on `store`. */
export async function startMaster(store: Store, options: MasterOptions = {}) {
  const leadership = await store.elect('test', { signal: new AbortController().signal })
  const master = await openMaster({
    ...{ store, leadership, log: silentLog, random: Math.random, soon: setImmediate },
    clock: options.clock ?? systemClock,
    masterId: `00000000-0000-4000-8000-${String(++masters).padStart(12, '0')}`,
    nodeName: parseNodeName('master1'),
    underlay: parseIp('127.0.0.1'),
    profile: options.profile ?? profileOf('default'),
    networks: [parseNetworkName('dcos'), parseNetworkName('backend')],
    ...(options.pingIntervalMs === undefined ? {} : { pingIntervalMs: options.pingIntervalMs }),
    ...(options.drainTimes && { drainTimes: options.drainTimes }),
  })
  const grpc = await openGrpcServer(leaderServices(master.context), `127.0.0.1:${options.port ?? 0}`)
  const crash = async () => {
    grpc.close()
    await store.close()
    await master.close().catch(() => undefined) // ERR_STORE_CLOSED: what a crash loses
  }
  const abdicate = async () => {
    grpc.close()
    await master.context.tasks.close()
    await leadership.resign()
    await master.close().catch(() => undefined) // ERR_STORE_TERM: its term is over
  }
  const started: TestMaster = { ...master, grpc, address: `127.0.0.1:${grpc.port}`, crash, abdicate }
  return started
}

/** node7 → 127.0.0.17: each machine has an address of its own. */
function underlayOf(name: string): string {
  return `127.0.0.1${Number(name.replace(/\D/g, ''))}`
}

/** An agent that runs nothing but says what it is told to say. */
export interface ScriptedAgent {
  readonly launched: TaskInfo[]
  readonly killed: TaskId[]
  readonly acknowledged: { readonly taskId: TaskId; readonly uuid: string }[]
  readonly refused: string[]
  /** What it would register with. */
  readonly tasks: Map<TaskId, AgentTask>
  id(): AgentId | undefined
  /** Sends an update that wants an acknowledgement. */
  update(taskId: TaskId, state: TaskState, more?: Partial<TaskStatus>): string
  health(taskId: TaskId, healthy: boolean): void
  /** Registrations so far. */
  registrations(): number
  stop(): Promise<void>
}

/** Options of a scripted agent. */
export interface AgentOptions {
  readonly name: string
  /** `address:port`, or several with `,` between. */
  readonly address: string
  readonly underlay?: string
  /** Comes back as this one, with these tasks. */
  readonly id?: AgentId
  readonly tasks?: Iterable<AgentTask>
  readonly resources?: Resources
  readonly highestTerm?: number
  /** `runs`: tells TASK_RUNNING at each launch, TASK_KILLED at each kill. `silent`: tells nothing by itself. */
  readonly manner?: 'runs' | 'silent'
}

/** Starts one; it registers again and again until it is stopped. */
export function startAgent(options: AgentOptions): ScriptedAgent {
  const aborter = new AbortController()
  const launched: TaskInfo[] = []
  const killed: TaskId[] = []
  const acknowledged: { taskId: TaskId; uuid: string }[] = []
  const refused: string[] = []
  const tasks = new Map([...(options.tasks ?? [])].map((task) => [task.info.taskId, task]))
  const frameworks = new Map<TaskId, FrameworkId>([...tasks].map(([id, task]) => [id, task.frameworkId]))
  let id = options.id
  let registrations = 0
  let uuids = 0
  const session = openAgentSession({
    masters: options.address.split(','),
    signal: aborter.signal,
    log: silentLog,
    register: () => ({
      ...(id === undefined ? {} : { agentId: id }),
      nodeName: parseNodeName(options.name),
      underlay: parseIp(options.underlay ?? underlayOf(options.name)),
      resources: options.resources ?? agentResources,
      attributes: { rack: 'a' },
      tasks: [...tasks.values()],
      bootId: 'boot',
      highestTerm: options.highestTerm ?? 0,
    }),
    onCommand: (command) => {
      switch (command.kind) {
        case 'registered':
          id = command.agentId
          registrations++
          break
        case 'launch':
          launched.push(...command.tasks)
          for (const info of command.tasks) frameworks.set(info.taskId, command.frameworkId)
          if (options.manner !== 'silent') for (const info of command.tasks) run(info)
          break
        case 'kill':
          killed.push(command.taskId)
          if (options.manner !== 'silent') update(command.taskId, 'TASK_KILLED')
          break
        case 'acknowledge':
          acknowledged.push({ taskId: command.taskId, uuid: command.uuid })
          break
        case 'refused':
          refused.push(command.code)
          break
        case 'ping':
          break
      }
    },
  })
  const run = (info: TaskInfo) => {
    const networks = info.networks.map(({ name }) => ({ name, addresses: [parseIp('10.80.1.5')] }))
    const latest: TaskStatus = statusOf(info.taskId, 'TASK_RUNNING', { networks })
    tasks.set(info.taskId, { frameworkId: frameworks.get(info.taskId) ?? unknownFramework(), info, latest })
    update(info.taskId, 'TASK_RUNNING', { networks })
  }
  const update = (taskId: TaskId, state: TaskState, more: Partial<TaskStatus> = {}) => {
    const uuid = String(++uuids).padStart(32, '0')
    const status = statusOf(taskId, state, { uuid, ...more })
    session.send({ kind: 'update', frameworkId: frameworks.get(taskId) ?? unknownFramework(), status })
    if (state === 'TASK_KILLED' || state === 'TASK_FINISHED') tasks.delete(taskId)
    return uuid
  }
  return {
    ...{ launched, killed, acknowledged, refused, tasks, update },
    id: () => id,
    health: (taskId, healthy) => session.send({ kind: 'health', taskId, healthy }),
    registrations: () => registrations,
    stop: async () => {
      aborter.abort()
      await session.closed
    },
  }
}

function statusOf(taskId: TaskId, state: TaskState, more: Partial<TaskStatus>): TaskStatus {
  return { taskId, state, source: 'AGENT', timestampMs: 1, networks: [], ...more }
}

function unknownFramework(): FrameworkId {
  throw new Error('the scripted agent has no framework for this task')
}

/** A node daemon that programs nothing and acknowledges all. */
export interface ScriptedNode {
  snapshot(): ClusterSnapshot
  /** Kinds of the updates it got. */
  readonly kinds: string[]
  /** Tasks that ever vanished from it. */
  readonly removedTasks: TaskId[]
  readonly ack: SnapshotWatch['ack']
  readonly reportUsage: SnapshotWatch['reportUsage']
  stop(): Promise<void>
}

/** Starts one; `held` versions are not acknowledged. */
export function startNode(
  name: string,
  address: string,
  options: { held?: () => boolean; from?: ClusterSnapshot } = {},
) {
  const aborter = new AbortController()
  const kinds: string[] = []
  const removedTasks: TaskId[] = []
  let snapshot = options.from ?? emptySnapshot
  const watch = watchSnapshots({
    masters: address.split(','),
    nodeName: parseNodeName(name),
    underlay: parseIp(underlayOf(name)),
    signal: aborter.signal,
    log: silentLog,
    ...(options.from === undefined ? {} : { resumeAfter: options.from }),
  })
  const follow = async () => {
    for await (const { kind, next, delta } of watch) {
      kinds.push(kind)
      removedTasks.push(...delta.tasks.removals)
      snapshot = next
      if (options.held?.() !== true) watch.ack(next.version)
    }
  }
  const done = follow()
  const stop = async () => {
    aborter.abort()
    await done
  }
  const node: ScriptedNode = {
    snapshot: () => snapshot,
    kinds,
    removedTasks,
    ack: watch.ack,
    reportUsage: watch.reportUsage,
    stop,
  }
  return node
}

/** A framework of a test: its events so far, and calls. */
export interface TestFramework {
  readonly events: SchedulerEvent[]
  id(): FrameworkId | undefined
  call(call: SchedulerCall): void
  offers(): Extract<SchedulerEvent, { kind: 'offers' }>['offers']
  updates(taskId: TaskId): readonly TaskStatus[]
  close(): void
}

/** Subscribes one that acknowledges what it is told. */
export function startFramework({ driver }: Pick<Master, 'driver'>, more: Partial<FrameworkInfo> = {}): TestFramework {
  const events: SchedulerEvent[] = []
  let id: FrameworkId | undefined
  const info: FrameworkInfo = {
    name: 'marathon',
    user: 'root',
    roles: ['*'],
    failoverTimeoutMs: 3_600_000,
    capabilities: ['PARTITION_AWARE'],
    hostname: 'master1',
    ...more,
  }
  const connection = driver.subscribe(info, (event) => {
    events.push(event)
    if (event.kind === 'subscribed') id = event.frameworkId
    if (event.kind !== 'update') return
    const { uuid, taskId } = event.status
    if (uuid !== undefined && event.agentId !== undefined) {
      connection.call({ kind: 'acknowledge', agentId: event.agentId, taskId, uuid })
    }
  })
  return {
    events,
    id: () => id,
    call: (call) => connection.call(call),
    offers: () => {
      const gone = new Set(events.flatMap((event) => (event.kind === 'rescind' ? [event.offerId] : [])))
      const all = events.flatMap((event) => (event.kind === 'offers' ? event.offers : []))
      return all.filter((offer) => !gone.has(offer.id))
    },
    updates: (taskId) =>
      events.flatMap((event) => (event.kind === 'update' && event.status.taskId === taskId ? [event.status] : [])),
    close: () => connection.close(),
  }
}
