import { AppError } from '../base/errors.ts'
import { type AppDefinition } from './app.ts'
import { type CommandContext, type CommandOptions, type Deployed, startDeployment } from './deploy.ts'
import { type AppId } from './ids.ts'
import { invalidApp } from './problem.ts'
import { parsePod } from './pods-parse.ts'

/** @throws ERR_SERVICES_INVALID ERR_SERVICES_EXISTS ERR_SERVICES_LOCKED */
export function createPod(context: CommandContext, body: unknown): Deployed {
  const definition = parsePod(body, context.check)
  if (context.draft.app(definition.id) !== undefined) {
    throw new AppError('ERR_SERVICES_EXISTS', `An app or pod with id [${definition.id}] already exists.`)
  }
  return deployPod(context, definition, { lock: 'respect' })
}

/** The whole of a pod anew. @throws ERR_SERVICES_INVALID ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED */
export function updatePod(
  context: CommandContext,
  body: unknown,
  { id, ...options }: CommandOptions & { readonly id: AppId },
): Deployed {
  if (context.draft.app(id)?.definition.pod === undefined) throw unknownPod(id)
  const definition = parsePod(body, context.check)
  if (definition.id !== id) throw invalidApp([{ path: '/id', errors: [`is not ${id}, the id of the path`] }])
  return deployPod(context, definition, options)
}

function deployPod(context: CommandContext, definition: AppDefinition, options: CommandOptions): Deployed {
  return startDeployment(context, { apps: [{ definition, goal: 'run', restart: 'when-changed' }] }, options)
}

/** The error for a pod that does not exist. */
export function unknownPod(id: string): AppError {
  return new AppError('ERR_SERVICES_UNKNOWN', `Pod '${id}' does not exist`)
}
