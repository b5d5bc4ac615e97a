import { AppError } from '../base/errors.ts'

/** The role of everybody: resources without a reservation, agents without a default role. */
export const anyRole = '*'

/** Characters that a role must not have. */
const forbidden = /[\s\p{Cc}]/u

/**
 * A role as frameworks, reservations, weights and quotas name it: `*`, or a path `a/b/c` without empty parts, `.`, `..`,
 * `*`, blanks, and without a part that begins with `-`. Source: mesos, src/common/roles.cpp, validate.
 * @throws ERR_MODEL_ROLE
 */
export function parseRole(text: string): string {
  const problem =
    text === anyRole
      ? undefined
      : text
          .split('/')
          .map(partProblem)
          .find((each) => each !== undefined)
  if (problem === undefined) return text
  throw new AppError('ERR_MODEL_ROLE', `"${text}" is not a role: ${problem}`)
}

function partProblem(part: string): string | undefined {
  if (part === '') return 'a part of the path is empty'
  if (part === '.' || part === '..' || part === anyRole) return `a part must not be "${part}"`
  if (part.startsWith('-')) return 'a part must not begin with "-"'
  return forbidden.test(part) ? 'it must not have blanks or control characters' : undefined
}

/** The first part of the path: the one that quotas are set for. */
export function topRole(role: string): string {
  const slash = role.indexOf('/')
  return slash < 0 ? role : role.slice(0, slash)
}

/** True for `a/b` below `a`, and for a role itself: who may be offered what is reserved for `above`. Source: mesos, resources.cpp, isAllocatableTo. */
export function isWithin(role: string, above: string): boolean {
  return role === above || (role.startsWith(above) && role[above.length] === '/')
}
