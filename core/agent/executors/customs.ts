import { timingSafeEqual } from 'node:crypto'
import { type AgentReport } from '../../api/messages.ts'
import { type ExecutorId, type FrameworkId } from '../../model/ids.ts'
import { type ContainerExit, type ContainerFinding } from '../containerizer/containerizer.ts'
import { type MasterSession } from '../messages.ts'
import { recoverExecutor } from './custom-end.ts'
import { type CustomDependencies, CustomExecutor, type ExecutorExit } from './custom.ts'
import { type ExecutorHome } from './home.ts'
import { type ExecutorRecord } from './record.ts'

type EndReport = Extract<AgentReport, { readonly kind: 'executor-ended' }>

/** Most ends of executors that wait for a master. */
const maxUnsent = 1000

/** The custom executors of an agent: those with a container, or with one on its way. */
export class CustomExecutors {
  readonly #deps: CustomDependencies
  readonly #session: MasterSession
  readonly #executors = new Map<string, CustomExecutor>()
  #unsent: readonly EndReport[] = []

  constructor(deps: Omit<CustomDependencies, 'onEnded'> & { readonly session: MasterSession }) {
    this.#session = deps.session
    this.#deps = { ...deps, onEnded: (record, end) => this.#ended(record, end) }
  }

  /** The executor that lives there; made when there is none. */
  of(home: ExecutorHome): CustomExecutor {
    const { containerId } = home.record
    const executor = this.#executors.get(containerId) ?? new CustomExecutor(home, this.#deps)
    this.#executors.set(containerId, executor)
    return executor
  }

  /** The executor of that container. */
  get(containerId: string): CustomExecutor | undefined {
    return this.#executors.get(containerId)
  }

  /** The executor that this token was given to. */
  byToken(token: string): CustomExecutor | undefined {
    const said = Buffer.from(token)
    return [...this.#executors.values()].find(({ record }) => {
      const own = Buffer.from(record.token)
      return own.length === said.length && timingSafeEqual(own, said)
    })
  }

  /** Goes on where an earlier agent stopped, after all tasks have joined. */
  resume(findings: ReadonlyMap<string, ContainerFinding>, bootId: string): void {
    for (const [containerId, executor] of [...this.#executors]) {
      const finding = findings.get(containerId) ?? { kind: 'absent' }
      executor.resume(recoverExecutor(executor.record, finding, bootId))
    }
  }

  /** A container has ended; perhaps that of an executor. */
  exited(exit: ContainerExit): void {
    this.#executors.get(exit.containerId)?.exited(exit)
  }

  /** To an executor, from its framework. */
  message(frameworkId: FrameworkId, executorId: ExecutorId, data: string): void {
    for (const executor of this.#find(frameworkId, executorId)) executor.message(data)
  }

  /** To a framework, from its executor. */
  say({ frameworkId, info }: ExecutorRecord, data: string): void {
    this.#session.send({ kind: 'executor-message', frameworkId, executorId: info.id, data })
  }

  /** Ends an executor of a framework, or all of them. */
  shutdown(frameworkId: FrameworkId, executorId?: ExecutorId): void {
    for (const executor of this.#find(frameworkId, executorId)) executor.shutdown()
  }

  /** A session has begun: tells the ends that no master has heard of. */
  resend(): void {
    this.#unsent = this.#unsent.filter((report) => !this.#session.send(report))
  }

  /** Stops timers; what runs goes on. */
  close(): void {
    for (const executor of this.#executors.values()) executor.close()
  }

  #find(frameworkId: FrameworkId, executorId?: ExecutorId): readonly CustomExecutor[] {
    return [...this.#executors.values()].filter(
      ({ record }) => record.frameworkId === frameworkId && (executorId === undefined || record.info.id === executorId),
    )
  }

  #ended({ frameworkId, info, containerId }: ExecutorRecord, { status, report: told }: ExecutorExit): void {
    this.#executors.delete(containerId)
    if (told === 'no') return
    const known = status === undefined ? {} : { status }
    const report: EndReport = { kind: 'executor-ended', frameworkId, executorId: info.id, ...known }
    if (!this.#session.send(report)) this.#unsent = [...this.#unsent, report].slice(-maxUnsent)
  }
}
