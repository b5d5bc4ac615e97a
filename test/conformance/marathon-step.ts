/**
 * Requests to Marathon's API and what it must answer, written from its public documentation (the RAML and examples below
 * docs/docs/rest-api/public/api/v2, docs/docs/*.md of mesosphere/marathon) and reference/services-and-jobs.md, not from our
 * code. They run in order, and `{name}` stands for what an earlier answer was captured as.
 */
export interface Step {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'HEAD'
  readonly path: string
  readonly body?: unknown
  readonly accept?: string
  readonly status: number
  /** A pattern as `t.match` has it: of a JSON body, or of a text. */
  readonly expect?: unknown
  /** Name to path in the body. */
  readonly capture?: Readonly<Record<string, readonly (string | number)[]>>
  /** `deployment`: the header Marathon-Deployment-Id is there. */
  readonly header?: 'deployment'
  /** Asked again until it is so. */
  readonly until?: true
}

/** A version: a time. */
export const version = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
/** An id of a deployment. */
export const uuid = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/
/** The answer of what starts a deployment. */
export const deployed = { version, deploymentId: uuid }
/** Resources of which many fit. */
export const small = { cpus: 0.1, mem: 32 }
/** The body of a 422. */
export const invalid = (...paths: readonly string[]) => ({
  message: 'Object is not valid',
  details: paths.map((path) => ({ path, errors: [String] })),
})
/** The body of a 404 of an app. */
export const noApp = (id: string) => ({ message: `App '${id}' does not exist` })
export const idle: Step = {
  method: 'GET',
  path: '/v2/deployments',
  status: 200,
  expect: /^\[\]$/,
  accept: 'as-text',
  until: true,
}
