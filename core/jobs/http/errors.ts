import { type FastifyError, type FastifyReply, type FastifyRequest } from 'fastify'
import { AppError } from '../../base/errors.ts'
import { problemsOf } from '../problem.ts'

const statusByCode: Readonly<Record<string, number>> = {
  ERR_JOBS_INVALID: 422,
  ERR_JOBS_REQUEST: 400,
  ERR_JOBS_UNKNOWN: 404,
  ERR_JOBS_EXISTS: 409,
  ERR_JOBS_ACTIVE: 409,
  ERR_JOBS_NEEDED: 409,
  ERR_JOBS_CLOSED: 503,
  ERR_STORE_FULL: 503,
  ERR_STORE_TERM: 503,
  ERR_STORE_CONFLICT: 503,
}

/** Answers an error as Metronome does: `{message, details?}`. */
export function replyToError(
  error: FastifyError | AppError | Error,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const problems = problemsOf(error)
  if (problems.length > 0) return reply.code(422).send({ message: 'Object is not valid', details: problems })
  const status = statusOf(error)
  if (status < 500 || status === 503) return reply.code(status).send({ message: error.message })
  request.log.error({ err: error }, 'a request failed')
  return reply.code(500).send({ message: 'internal error: see the log of the master' })
}

function statusOf(error: FastifyError | AppError | Error): number {
  if (error instanceof AppError) return statusByCode[error.code] ?? 500
  return 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500
}
