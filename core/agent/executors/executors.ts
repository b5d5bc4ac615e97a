import { randomBytes } from 'node:crypto'
import { type ExecutorInfo } from '../../model/executor.ts'
import { type FrameworkId, type TaskId } from '../../model/ids.ts'
import { openJournal } from '../checkpoint.ts'
import { newContainerId } from '../container-id.ts'
import { containerPaths } from '../paths.ts'
import { ExecutorHome, type ExecutorOpening, type HomeDependencies } from './home.ts'
import { type ExecutorRecord } from './record.ts'

/** Whose executor is asked for. */
export interface ExecutorPlace {
  readonly frameworkId: FrameworkId
  /** Told to executors. */
  readonly framework?: { readonly name: string; readonly user: string }
  readonly info: ExecutorInfo
}

/** The executors of an agent. */
export class Executors {
  readonly #deps: HomeDependencies & { readonly bootId: string }
  /** By container id: an executor that ends may still be there when the next one of its name begins. */
  readonly #homes = new Map<string, ExecutorHome>()

  constructor(deps: HomeDependencies & { readonly bootId: string }) {
    this.#deps = deps
  }

  /** The executor of that container, if it is not undone yet. */
  get(containerId: string): ExecutorHome | undefined {
    return this.#homes.get(containerId)
  }

  /** The executor of that name that takes tasks; made if there is none. The tasks have entered. */
  enter(place: ExecutorPlace, taskIds: readonly TaskId[]): ExecutorHome {
    const home = this.#find(place.frameworkId, place.info.id) ?? this.#make(place)
    for (const taskId of taskIds) home.enter(taskId)
    return home
  }

  /** Takes over what an earlier agent left. */
  recover(openings: readonly ExecutorOpening[]): void {
    for (const opening of openings) this.#open(opening)
  }

  /** All that are not undone yet. */
  containerIds(): Iterable<string> {
    return this.#homes.keys()
  }

  /** Those that are programs of a framework. */
  custom(): readonly ExecutorHome[] {
    return [...this.#homes.values()].filter(({ record }) => record.info.kind === 'custom')
  }

  /** After every task has entered again: undoes executors that have none; a custom one lives on without. */
  closeEmpty(): void {
    for (const home of this.#homes.values()) if (home.isEmpty && home.record.info.kind === 'default') home.close()
  }

  /** Stops timers; what runs goes on. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#homes.values()].map((home) => home.detach()))
  }

  #find(frameworkId: FrameworkId, id: ExecutorInfo['id']): ExecutorHome | undefined {
    const isIt = ({ isOpen, record }: ExecutorHome) =>
      isOpen && record.frameworkId === frameworkId && record.info.id === id
    return [...this.#homes.values()].find(isIt)
  }

  #make({ frameworkId, framework = { name: '', user: '' }, info }: ExecutorPlace): ExecutorHome {
    const { bootId, clock, paths } = this.#deps
    const containerId = newContainerId(info.id)
    const token = randomBytes(24).toString('hex')
    const record: ExecutorRecord = {
      ...{ frameworkId, framework, info, containerId, token, bootId, acceptedAtMs: clock.nowMs() },
      ...{ attachments: [], results: [] },
    }
    return this.#open({ record, journal: openJournal(containerPaths(paths, containerId).executorJournal) })
  }

  #open(opening: ExecutorOpening): ExecutorHome {
    const { containerId } = opening.record
    const home = new ExecutorHome(opening, this.#deps, () => this.#homes.delete(containerId))
    this.#homes.set(containerId, home)
    return home
  }
}
