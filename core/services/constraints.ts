/** Where an instance runs, or an offer comes from. */
export interface Place {
  readonly hostname: string
  readonly attributes: Readonly<Record<string, string>>
}

/** `[field, operator, value?]`. Source: marathon, docs/constraints. */
export type Constraint = readonly string[]

const operators = ['UNIQUE', 'CLUSTER', 'GROUP_BY', 'MAX_PER', 'IS'] as const
type Operator = (typeof operators)[number]

/** Why a constraint can't be taken; undefined when it can. */
export function constraintProblem([field = '', name = '', value]: Constraint): string | undefined {
  if (name === 'LIKE' || name === 'UNLIKE')
    return `${name} is not supported yet: use IS, or UNIQUE, CLUSTER, MAX_PER, GROUP_BY`
  if (field === '@region' || field === '@zone') return `${field} is not supported yet: use @hostname or an attribute`
  if (field === '' || field.startsWith('@') !== (field === '@hostname')) return 'the field is @hostname or an attribute'
  const operator = parseOperator(name)
  if (operator === undefined) return `"${name}" is not an operator: ${operators.join(', ')}`
  if (operator === 'UNIQUE' && value !== undefined) return 'UNIQUE has no value'
  if (operator === 'IS' && value === undefined) return 'IS needs a value'
  const isNumber = value !== undefined && /^[1-9]\d{0,5}$/.test(value)
  if (operator === 'MAX_PER' && !isNumber) return 'MAX_PER needs a number from 1'
  if (operator === 'GROUP_BY' && value !== undefined && !isNumber) return 'the value of GROUP_BY is a number from 1'
  return undefined
}

/**
 * True when one more instance may run at `place`, beside those at `running`. A field that the place lacks fulfils
 * nothing.
 */
export function fulfils(constraint: Constraint, place: Place, running: readonly Place[]): boolean {
  const [field = '', name = '', value] = constraint
  const here = fieldOf(place, field)
  const operator = parseOperator(name)
  if (here === undefined || operator === undefined) return false
  const counts = new Map<string, number>()
  for (const other of running) {
    const there = fieldOf(other, field)
    if (there !== undefined) counts.set(there, (counts.get(there) ?? 0) + 1)
  }
  const mine = counts.get(here) ?? 0
  switch (operator) {
    case 'IS':
      return here === value
    case 'UNIQUE':
      return mine === 0
    case 'MAX_PER':
      return mine < Number(value)
    case 'CLUSTER':
      if (value !== undefined) return here === value
      return counts.size === 0 || mine > 0
    case 'GROUP_BY':
      return keepsGroupsEven(counts, mine, value === undefined ? 1 : Number(value))
  }
}

/** A new group is welcome until there are `groups` of them; else the smallest group is. */
function keepsGroupsEven(counts: ReadonlyMap<string, number>, mine: number, groups: number): boolean {
  const smallest = counts.size < groups ? 0 : Math.min(...counts.values())
  return mine === 0 || mine <= smallest
}

function fieldOf({ hostname, attributes }: Place, field: string): string | undefined {
  if (field === 'hostname' || field === '@hostname') return hostname
  return Object.hasOwn(attributes, field) ? attributes[field] : undefined
}

function parseOperator(name: string): Operator | undefined {
  return operators.find((operator) => operator === name)
}
