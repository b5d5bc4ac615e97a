import { AppError } from '../../base/errors.ts'

/** One condition of a label selector. */
interface Condition {
  readonly key: string
  readonly test: (value: string) => boolean
}

/** `\,` stands for a comma that divides nothing. */
const word = String.raw`(?:[-\w.]|\\.)+`
const existsPattern = new RegExp(`^(${word})$`)
const equalsPattern = new RegExp(`^(${word})\\s*(==|!=)\\s*(${word})$`)
const setPattern = new RegExp(`^(${word})\\s+(in|notin)\\s*\\((.*)\\)$`)

/**
 * A label selector: `key`, `key==value`, `key!=value`, `key in (a, b)`, `key notin (a, b)`, several divided by commas. Each
 * wants the label to be there, the negative ones too. Source: marathon, docs/rest-api, apps.raml, query parameter `label`.
 * @throws ERR_SERVICES_REQUEST
 */
export function parseSelector(text: string): (labels: Readonly<Record<string, string>>) => boolean {
  const conditions = split(text).map(parseCondition)
  return (labels) =>
    conditions.every(({ key, test }) => {
      const value = Object.hasOwn(labels, key) ? labels[key] : undefined
      return value !== undefined && test(value)
    })
}

function parseCondition(text: string): Condition {
  const exists = existsPattern.exec(text)
  if (exists?.[1] !== undefined) return { key: withoutBackslashes(exists[1]), test: () => true }
  const equals = equalsPattern.exec(text)
  if (equals !== null) {
    const [, key = '', operator, value = ''] = equals
    return {
      key: withoutBackslashes(key),
      test: (found) => (found === withoutBackslashes(value)) === (operator === '=='),
    }
  }
  const set = setPattern.exec(text)
  if (set !== null) {
    const [, key = '', operator, list = ''] = set
    const values = new Set(split(list).map(withoutBackslashes))
    if (values.size > 0)
      return { key: withoutBackslashes(key), test: (found) => values.has(found) === (operator === 'in') }
  }
  const usage = 'key, key==value, key!=value, key in (a, b), key notin (a, b)'
  throw new AppError('ERR_SERVICES_REQUEST', `label selector "${text}" is none of: ${usage}`)
}

/** At commas outside of parentheses that no backslash precedes. */
function split(text: string): readonly string[] {
  const parts: string[] = ['']
  let depth = 0
  for (const [token] of text.matchAll(/\\.|[^\\]|\\$/gs)) {
    if (token === '(') depth++
    if (token === ')') depth--
    if (token === ',' && depth === 0) parts.push('')
    else parts[parts.length - 1] += token
  }
  return parts.map((part) => part.trim()).filter((part) => part !== '')
}

function withoutBackslashes(text: string): string {
  return text.replaceAll(/\\(.)/gs, '$1')
}
