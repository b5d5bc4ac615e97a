import { AppError } from '../base/errors.ts'
import { type Problem } from '../scheduling/problem.ts'

/** The error of a body that can't be taken; {@link problemsOf} has the problems. */
export function invalidApp(problems: readonly Problem[]): AppError {
  const text = problems.map(({ path, errors }) => `${path}: ${errors.join('; ')}`).join(', ')
  return new InvalidApp(`Object is not valid: ${text}`, problems)
}

/** ERR_SERVICES_INVALID with what is wrong. */
class InvalidApp extends AppError {
  readonly problems: readonly Problem[]

  constructor(message: string, problems: readonly Problem[]) {
    super('ERR_SERVICES_INVALID', message)
    this.problems = problems
  }
}

/** The problems of an error that {@link invalidApp} made; none for another. */
export function problemsOf(error: unknown): readonly Problem[] {
  return error instanceof InvalidApp ? error.problems : []
}
