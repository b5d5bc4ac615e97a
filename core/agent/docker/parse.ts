/** What an inspection tells of a container. */
export interface ContainerState {
  readonly kind: 'created' | 'running' | 'exited'
  /** 0: it does not run. */
  readonly pid: number
  readonly exitCode: number
  readonly outOfMemory: boolean
  /** Why it could not be started; else empty. */
  readonly error: string
}

/** What an image says that matters before its container is made. */
export interface DockerImage {
  readonly id: string
  /** Empty: root. */
  readonly user: string
}

/** A property of JSON; undefined when there is none. */
export function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return Object.getOwnPropertyDescriptor(value, name)?.value
}

/** A text of JSON; anything else is empty. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** Reads `GET /containers/ID/json`. */
export function parseState(answer: unknown): ContainerState {
  const state = field(answer, 'State')
  const isRunning = field(state, 'Running') === true
  const status = textOf(field(state, 'Status'))
  return {
    kind: isRunning ? 'running' : status === 'created' ? 'created' : 'exited',
    pid: isRunning ? numberOf(field(state, 'Pid')) : 0,
    exitCode: numberOf(field(state, 'ExitCode')),
    outOfMemory: field(state, 'OOMKilled') === true,
    error: textOf(field(state, 'Error')),
  }
}

/** Reads `GET /images/NAME/json`. */
export function parseImage(answer: unknown): DockerImage {
  return { id: textOf(field(answer, 'Id')), user: textOf(field(field(answer, 'Config'), 'User')) }
}

/** Reads `GET /containers/json`: names (for the API) and labels. */
export function parseList(
  answer: unknown,
): readonly { readonly id: string; readonly labels: (name: string) => string }[] {
  if (!Array.isArray(answer)) return []
  return answer.map((each) => ({
    id: textOf(field(each, 'Id')),
    labels: (name: string) => textOf(field(field(each, 'Labels'), name)),
  }))
}

/** A number of JSON; anything else is 0. */
export function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0
}
