import { matchesPattern, patternProblem } from './pattern.ts'

/** Where an instance runs, or an offer comes from. */
export interface Place {
  readonly hostname: string
  readonly attributes: Readonly<Record<string, string>>
}

/** `[field, operator, value?]`. Source: marathon, docs/constraints. */
export type Constraint = readonly string[]

const operators = ['UNIQUE', 'CLUSTER', 'GROUP_BY', 'LIKE', 'UNLIKE', 'MAX_PER', 'IS'] as const
type Operator = (typeof operators)[number]

/** Fields with a meaning of their own, and the attribute that they read: an agent says its zone and region by attributes. */
const attributeOf: Readonly<Record<string, string>> = { '@zone': 'zone', '@region': 'region' }

/** Why a constraint can't be taken; undefined when it can. */
export function constraintProblem([field = '', name = '', value]: Constraint): string | undefined {
  const isOwn = field === '@hostname' || Object.hasOwn(attributeOf, field)
  if (field === '' || field.startsWith('@') !== isOwn) {
    return 'the field is @hostname, @zone, @region or an attribute'
  }
  const operator = parseOperator(name)
  if (operator === undefined) return `"${name}" is not an operator: ${operators.join(', ')}`
  return valueProblem(operator, value)
}

function valueProblem(operator: Operator, value: string | undefined): string | undefined {
  const isNumber = value !== undefined && /^[1-9]\d{0,5}$/.test(value)
  switch (operator) {
    case 'UNIQUE':
      return value === undefined || value === '' ? undefined : 'UNIQUE has no value'
    case 'IS':
      return value === undefined ? 'IS needs a value' : undefined
    case 'MAX_PER':
      return isNumber ? undefined : 'MAX_PER needs a number from 1'
    case 'GROUP_BY':
      return value === undefined || isNumber ? undefined : 'the value of GROUP_BY is a number from 1'
    case 'LIKE':
    case 'UNLIKE':
      return value === undefined ? `${operator} needs a pattern` : patternProblem(value)
    case 'CLUSTER':
      return undefined
  }
}

/**
 * True when one more instance may run at `place`, beside those at `running`. A field that the place lacks fulfils nothing
 * but UNLIKE. Source: marathon, Constraints.meetsConstraint.
 */
export function fulfils(constraint: Constraint, place: Place, running: readonly Place[]): boolean {
  const [field = '', name = '', value] = constraint
  const here = fieldOf(place, field)
  const operator = parseOperator(name)
  if (here === undefined || operator === undefined) return operator === 'UNLIKE'
  switch (operator) {
    case 'IS':
      return here === value
    case 'LIKE':
      return matchesPattern(value ?? '', here)
    case 'UNLIKE':
      return !matchesPattern(value ?? '', here)
    default:
      return fulfilsBeside(operator, { here, value }, countBy(running, field))
  }
}

/** Operators that look at where the other instances are. */
function fulfilsBeside(
  operator: 'UNIQUE' | 'MAX_PER' | 'CLUSTER' | 'GROUP_BY',
  { here, value }: { readonly here: string; readonly value: string | undefined },
  counts: ReadonlyMap<string, number>,
): boolean {
  const mine = counts.get(here) ?? 0
  switch (operator) {
    case 'UNIQUE':
      return mine === 0
    case 'MAX_PER':
      return mine < Number(value)
    case 'CLUSTER':
      if (value !== undefined && value !== '') return here === value
      return counts.size === 0 || mine > 0
    case 'GROUP_BY':
      return keepsGroupsEven(counts, mine, value === undefined ? 1 : Number(value))
  }
}

function countBy(running: readonly Place[], field: string): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const other of running) {
    const there = fieldOf(other, field)
    if (there !== undefined) counts.set(there, (counts.get(there) ?? 0) + 1)
  }
  return counts
}

/** A new group is welcome until there are `groups` of them; else the smallest group is. */
function keepsGroupsEven(counts: ReadonlyMap<string, number>, mine: number, groups: number): boolean {
  const smallest = counts.size < groups ? 0 : Math.min(...counts.values())
  return mine === 0 || mine <= smallest
}

function fieldOf({ hostname, attributes }: Place, field: string): string | undefined {
  if (field === 'hostname' || field === '@hostname') return hostname
  const name = attributeOf[field] ?? field
  return Object.hasOwn(attributes, name) ? attributes[name] : undefined
}

function parseOperator(name: string): Operator | undefined {
  return operators.find((operator) => operator === name)
}
