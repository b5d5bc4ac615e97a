import { type Clock } from '../../core/base/clock.ts'
import { parseIp } from '../../core/base/ip.ts'
import { type AgentId, parseAgentId, parseFrameworkId, parseOfferId, type TaskId } from '../../core/model/ids.ts'
import { containsResources, type Resources, subtractResources, sumResources } from '../../core/model/resources.ts'
import {
  type Offer,
  type SchedulerCall,
  type SchedulerConnection,
  type SchedulerDriver,
  type SchedulerEvent,
} from '../../core/model/scheduler.ts'
import { isTerminal, type TaskInfo, type TaskState, type TaskStatus } from '../../core/model/task.ts'

/** A clock that stands still until it is told to go on. */
export interface FakeClock extends Clock {
  advance(ms: number): void
}

/** Opens a clock at a fixed date. */
export function openFakeClock(): FakeClock {
  let nowMs = 1_000_000
  const timers = new Set<{ readonly atMs: number; readonly task: () => void }>()
  return {
    nowMs: () => 1_700_000_000_000 + nowMs,
    monotonicMs: () => nowMs,
    sleep: () => Promise.reject(new Error('the fake clock does not sleep')),
    after: (ms, task) => {
      const timer = { atMs: nowMs + ms, task }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    advance: (ms) => {
      nowMs += ms
      for (const timer of [...timers].toSorted((a, b) => a.atMs - b.atMs)) {
        if (timer.atMs > nowMs || !timers.delete(timer)) continue
        timer.task()
      }
    },
  }
}

/** One simulated agent. */
export interface FakeAgent {
  readonly name: string
  readonly resources: Resources
  readonly attributes?: Readonly<Record<string, string>>
}

/** What a simulated agent does with a task that it is given. */
export type Behaviour = 'run' | 'run-healthy' | 'hold' | 'fail'

/** A task of the simulated cluster. */
export interface FakeTask {
  readonly info: TaskInfo
  state: TaskState
  healthy?: boolean
}

/** A master with agents, in memory: offers as Mesos makes them, tasks that do what the test says. */
export interface FakeCluster {
  readonly driver: SchedulerDriver
  readonly calls: readonly SchedulerCall[]
  readonly tasks: ReadonlyMap<TaskId, FakeTask>
  /** Most tasks that were alive at one time. */
  readonly peak: number
  /** Tasks that are not at an end. */
  alive(): readonly FakeTask[]
  behave(behaviour: Behaviour): void
  /** Kills end tasks at once, or never. */
  killing(answer: 'at-once' | 'never'): void
  update(id: TaskId, state: TaskState, more?: Partial<TaskStatus>): void
  /** Offers to a framework that did not suppress, of agents that no filter blocks. */
  allocate(): void
  send(event: SchedulerEvent): void
  disconnect(): void
}

const noPorts: Resources = { cpuMillis: 0, memMb: 0, diskMb: 0, ports: [] }

/** Opens a cluster of `agents`. Updates come at the next turn of the event loop, as they would over a wire. */
export function openFakeCluster(agents: readonly FakeAgent[], clock: Clock): FakeCluster {
  const cluster = new Cluster(agents, clock)
  return cluster
}

class Cluster implements FakeCluster {
  readonly calls: SchedulerCall[] = []
  readonly tasks = new Map<TaskId, FakeTask>()
  peak = 0
  readonly #agents: readonly FakeAgent[]
  readonly #clock: Clock
  readonly #offers = new Map<string, Offer>()
  readonly #refused = new Map<AgentId, number>()
  #onEvent: ((event: SchedulerEvent) => void) | undefined
  #suppressed = false
  #behaviour: Behaviour = 'run'
  #killing: 'at-once' | 'never' = 'at-once'
  #next = 0
  #frameworks = 0

  constructor(agents: readonly FakeAgent[], clock: Clock) {
    this.#agents = agents
    this.#clock = clock
  }

  readonly driver: SchedulerDriver = {
    subscribe: (framework, onEvent): SchedulerConnection => {
      this.#onEvent = onEvent
      this.#suppressed = false
      this.#refused.clear()
      const id = framework.id ?? parseFrameworkId(`fake-000${this.#frameworks++}`)
      this.send({ kind: 'subscribed', frameworkId: id })
      this.#later(() => this.allocate())
      return {
        call: (call) => {
          this.calls.push(call)
          if (this.#onEvent === onEvent) this.#later(() => this.#handle(call))
        },
        close: () => {
          if (this.#onEvent === onEvent) this.disconnect()
        },
      }
    },
  }

  alive(): readonly FakeTask[] {
    return [...this.tasks.values()].filter(({ state }) => !isTerminal(state))
  }

  behave(behaviour: Behaviour): void {
    this.#behaviour = behaviour
  }

  killing(answer: 'at-once' | 'never'): void {
    this.#killing = answer
  }

  disconnect(): void {
    this.#onEvent = undefined
    this.#offers.clear()
  }

  send(event: SchedulerEvent): void {
    this.#later(() => this.#onEvent?.(event))
  }

  update(id: TaskId, state: TaskState, more: Partial<TaskStatus> = {}): void {
    const task = this.tasks.get(id)
    if (task === undefined) throw new Error(`no task ${id}`)
    task.state = state
    if (more.healthy !== undefined) task.healthy = more.healthy
    const status: TaskStatus = {
      taskId: id,
      state,
      source: 'AGENT',
      timestampMs: this.#clock.nowMs(),
      uuid: String(this.#next++).padStart(32, '0'),
      ...(task.healthy === undefined ? {} : { healthy: task.healthy }),
      networks: state === 'TASK_RUNNING' ? [{ name: 'dcos', addresses: [parseIp('10.80.0.2')] }] : [],
      ...more,
    }
    this.send({ kind: 'update', status, agentId: task.info.agentId })
    if (isTerminal(state)) this.#later(() => this.allocate())
  }

  allocate(): void {
    if (this.#onEvent === undefined || this.#suppressed) return
    const offers = this.#agents.flatMap((agent) => this.#offerOf(agent) ?? [])
    for (const offer of offers) this.#offers.set(offer.id, offer)
    if (offers.length > 0) this.send({ kind: 'offers', offers })
  }

  #offerOf({ name, resources, attributes }: FakeAgent): Offer | undefined {
    const agentId = parseAgentId(name)
    if ([...this.#offers.values()].some((offer) => offer.agentId === agentId)) return undefined
    if ((this.#refused.get(agentId) ?? 0) > this.#clock.monotonicMs()) return undefined
    const used = sumResources(this.alive().flatMap(({ info }) => (info.agentId === agentId ? [info.resources] : [])))
    return {
      id: parseOfferId(`O${this.#next++}`),
      frameworkId: parseFrameworkId('fake-0000'),
      agentId,
      hostname: `${name}.host`,
      role: '*',
      resources: subtractResources(resources, used),
      attributes: attributes ?? {},
    }
  }

  #later(task: () => void): void {
    setImmediate(task)
  }

  #handle(call: SchedulerCall): void {
    switch (call.kind) {
      case 'accept':
        this.#accept(call)
        return
      case 'decline':
        for (const id of call.offerIds) this.#giveBack(id, call.refuseMs)
        return
      case 'revive':
        this.#suppressed = false
        this.#refused.clear()
        this.allocate()
        return
      case 'suppress':
        this.#suppressed = true
        return
      case 'kill':
        this.#kill(call.taskId)
        return
      case 'reconcile':
        this.#reconcile(call)
        return
    }
  }

  #accept(call: SchedulerCall & { readonly kind: 'accept' }): void {
    const offers = call.offerIds.map((id) => this.#offers.get(id))
    for (const id of call.offerIds) this.#giveBack(id, call.refuseMs)
    let left = offers.some((offer) => offer === undefined)
      ? noPorts
      : sumResources(offers.map((offer) => offer?.resources ?? noPorts))
    const groups = (call.operations ?? []).flatMap((one) => (one.kind === 'launch-group' ? one.tasks : []))
    for (const info of [...call.launches, ...groups]) {
      if (this.tasks.has(info.taskId)) throw new Error(`${info.taskId} is launched twice`)
      this.tasks.set(info.taskId, { info, state: 'TASK_STAGING' })
      this.peak = Math.max(this.peak, this.alive().length)
      if (!containsResources(left, info.resources)) {
        this.update(info.taskId, 'TASK_DROPPED', { reason: 'REASON_INVALID_OFFERS' })
        continue
      }
      left = subtractResources(left, info.resources)
      this.#start(info)
    }
  }

  #start({ taskId }: TaskInfo): void {
    if (this.#behaviour === 'hold') return
    if (this.#behaviour === 'fail') this.update(taskId, 'TASK_FAILED', { message: 'exited with 1' })
    else this.update(taskId, 'TASK_RUNNING', this.#behaviour === 'run-healthy' ? { healthy: true } : {})
  }

  #giveBack(id: string, refuseMs: number): void {
    const offer = this.#offers.get(id)
    if (offer === undefined) return
    this.#offers.delete(id)
    this.#refused.set(offer.agentId, this.#clock.monotonicMs() + refuseMs)
  }

  #kill(id: TaskId): void {
    const task = this.tasks.get(id)
    if (task === undefined || isTerminal(task.state)) this.#tellUnknown(id)
    else if (this.#killing === 'at-once') this.update(id, 'TASK_KILLED')
  }

  #reconcile({ taskIds: ids, agentOf }: SchedulerCall & { readonly kind: 'reconcile' }): void {
    const asked = ids.length > 0 ? ids : this.alive().map(({ info }) => info.taskId)
    for (const id of asked) {
      const task = this.tasks.get(id)
      if (task === undefined) this.#tellUnknown(id, agentOf?.get(id))
      else this.update(id, task.state, { reason: 'REASON_RECONCILIATION' })
    }
  }

  /** An agent that the framework names is there, and does not have it. */
  #tellUnknown(taskId: TaskId, agentId?: AgentId): void {
    const timestampMs = this.#clock.nowMs()
    const state = agentId === undefined ? 'TASK_UNKNOWN' : 'TASK_GONE'
    const status = {
      taskId,
      state,
      reason: 'REASON_RECONCILIATION',
      source: 'MASTER',
      timestampMs,
      networks: [],
    } as const
    this.send({ kind: 'update', status, ...(agentId && { agentId }) })
  }
}

/** Resolves when `test` holds; each turn of the event loop is a try. @throws when it never does */
export async function until(test: () => boolean, what: string): Promise<void> {
  for (let turn = 0; turn < 5_000; turn++) {
    if (test()) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error(`did not come about: ${what}`)
}

/** Resolves when everything that was on its way has come about: nothing of it waits for a timer. */
export async function quiesce(cluster: FakeCluster): Promise<void> {
  let idle = 0
  let seen = cluster.calls.length
  while (idle < 40) {
    await new Promise((resolve) => setImmediate(resolve))
    idle = cluster.calls.length === seen ? idle + 1 : 0
    seen = cluster.calls.length
  }
}
