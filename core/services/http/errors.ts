import { type FastifyError, type FastifyReply, type FastifyRequest } from 'fastify'
import { AppError } from '../../base/errors.ts'
import { problemsOf } from '../problem.ts'

const statusByCode: Readonly<Record<string, number>> = {
  ERR_SERVICES_INVALID: 422,
  ERR_SERVICES_ID: 422,
  ERR_MODEL_ID: 422,
  ERR_SERVICES_REQUEST: 400,
  ERR_SERVICES_UNKNOWN: 404,
  ERR_SERVICES_EXISTS: 409,
  ERR_SERVICES_LOCKED: 409,
  ERR_SERVICES_CLOSED: 503,
  ERR_STORE_FULL: 503,
  ERR_STORE_TERM: 503,
  ERR_STORE_CONFLICT: 503,
}

/** Answers an error as Marathon does: `{message, details?}`. */
export function replyToError(
  error: FastifyError | AppError | Error,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  if (error instanceof AppError) {
    const status = statusByCode[error.code] ?? 500
    if (status === 500) request.log.error({ err: error }, 'a request failed')
    return reply.code(status).send(bodyOf(error))
  }
  const status = 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500
  if (status < 500) return reply.code(status).send({ message: error.message })
  request.log.error({ err: error }, 'a request failed')
  return reply.code(500).send({ message: 'internal error: see the log of the master' })
}

function bodyOf(error: AppError): Readonly<Record<string, unknown>> {
  if (error.code === 'ERR_STORE_FULL') {
    return {
      message: `Nothing was changed: the disk of the state directory is full. Free space and try again. (${error.message})`,
    }
  }
  const problems = problemsOf(error)
  if (problems.length > 0) return { message: 'Object is not valid', details: problems }
  return { message: error.message, ...error.details }
}
