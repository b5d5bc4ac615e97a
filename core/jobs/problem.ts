import { AppError } from '../base/errors.ts'
import { type Finding, groupProblems, type Problem } from '../scheduling/problem.ts'

/** ERR_JOBS_INVALID with what is wrong. */
class InvalidJob extends AppError {
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    const text = problems.map(({ path, errors }) => `${path}: ${errors.join('; ')}`).join(', ')
    super('ERR_JOBS_INVALID', `Object is not valid: ${text}`)
    this.problems = problems
  }
}

/** The error of a body that can't be taken; {@link problemsOf} has what is wrong, by path. */
export function invalidJob(findings: readonly Finding[]): AppError {
  return new InvalidJob(groupProblems(findings))
}

/** The problems of an error that {@link invalidJob} made; none for another. */
export function problemsOf(error: unknown): readonly Problem[] {
  return error instanceof InvalidJob ? error.problems : []
}
