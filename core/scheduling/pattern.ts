/**
 * Patterns of constraints (LIKE, UNLIKE) are regular expressions that must match the whole text, as in Marathon. They come
 * from users and run in the master, and the engine tries all ways to match: a pattern that has many of them is refused.
 */

/** Of groups and repetitions together. Each multiplies the ways by the text's length (253 at most) in the worst case. */
const maxBranchings = 4
/** `\x` and `[…]` say nothing of the shape of an expression. */
const inert = /\\.|\[(?:\\.|[^\]\\])*\]/g

/** Why a pattern can't be taken; undefined when it can. */
export function patternProblem(pattern: string): string | undefined {
  if (/\\[1-9k]|\(\?/.test(pattern)) return 'back references and (?…) are not possible in a pattern'
  const shape = pattern.replaceAll(inert, 'x')
  if (/\)[*+?{]/.test(shape)) return 'a group cannot be repeated in a pattern: it could take for ever'
  if ((shape.match(/[*+?({]/g) ?? []).length > maxBranchings) {
    return `a pattern has at most ${maxBranchings} of "*", "+", "?", "{…}" and "(…)": more could take for ever`
  }
  try {
    new RegExp(whole(pattern))
    return undefined
  } catch {
    return `"${pattern}" is not a regular expression` // a SyntaxError: its text shows the wrapping of `whole`
  }
}

/** True when the whole text matches; `pattern` has passed {@link patternProblem}. */
export function matchesPattern(pattern: string, text: string): boolean {
  return new RegExp(whole(pattern)).test(text)
}

function whole(pattern: string): string {
  return `^(?:${pattern})$`
}
