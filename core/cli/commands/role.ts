import { AppError } from '../../base/errors.ts'
import { isRecord } from '../api.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { recordsOf } from '../up/sample.ts'
import { targetApi } from './target.ts'

/** Limits of `weft role quota`. */
export interface QuotaOptions extends GlobalOptions {
  readonly cpus?: string
  /** MB. */
  readonly mem?: string
  /** MB. */
  readonly disk?: string
  readonly remove?: boolean
  readonly force?: boolean
}

const amounts = ['cpus', 'mem', 'disk'] as const

/** `weft role list`: every role that is in use or has a weight or a quota. */
export async function listRoles(globals: GlobalOptions): Promise<void> {
  const roles = await recordsOf(targetApi(globals), '/roles', 'roles')
  const head = ['ROLE', 'WEIGHT', 'FRAMEWORKS', 'CPUS', 'MEM', 'DISK', 'QUOTA']
  print(roles, () => formatTable(head, roles.map(rowOf)), globals)
}

function rowOf(role: Record<string, unknown>): readonly string[] {
  const { frameworks, allocated, quota } = role
  const used = isRecord(allocated) ? allocated : {}
  const limit = isRecord(quota) && isRecord(quota['limit']) ? quota['limit'] : {}
  const limits = Object.entries(limit).map(([name, value]) => `${name} ${String(value)}`)
  return [
    ...[String(role['name']), String(role['weight'])],
    String(Array.isArray(frameworks) ? frameworks.length : 0),
    ...amounts.map((name) => String(used[name] ?? 0)),
    limits.length === 0 ? '-' : limits.join(', '),
  ]
}

/** `weft role weight ROLE N`: its part of what several roles want. */
export async function weighRole(globals: GlobalOptions, role: string, text: string): Promise<void> {
  const weight = Number(text)
  if (!(weight > 0 && weight < Infinity)) throw new AppError('ERR_CLI_USAGE', 'a weight is a number above 0')
  await call(globals, 'UPDATE_WEIGHTS', { weight_infos: [{ role, weight }] })
  print({ role, weight }, () => `role ${role} has weight ${weight}`, globals)
}

/** `weft role quota ROLE --cpus … | --remove`: the most that a top-level role and all below it may consume. */
export async function limitRole(options: QuotaOptions, role: string): Promise<void> {
  const limits = Object.fromEntries(amounts.flatMap((name) => limitOf(name, options[name])))
  if ((options.remove === true) === Object.keys(limits).length > 0) {
    throw new AppError('ERR_CLI_USAGE', 'give --cpus, --mem or --disk, or else --remove')
  }
  const values = Object.fromEntries(Object.entries(limits).map(([name, value]) => [name, { value }]))
  await call(options, 'UPDATE_QUOTA', { force: options.force === true, quota_configs: [{ role, limits: values }] })
  const shown = Object.entries(limits).map(([name, value]) => `${name} ${value}`)
  print({ role, limits }, () => `role ${role} has ${shown.length === 0 ? 'no quota' : shown.join(', ')}`, options)
}

function limitOf(name: string, text: string | undefined): readonly (readonly [string, number])[] {
  if (text === undefined) return []
  const value = Number(text)
  if (text.trim() === '' || !(value >= 0 && value < Infinity)) {
    throw new AppError('ERR_CLI_USAGE', `--${name} takes a number, not below 0`)
  }
  return [[name, value]]
}

async function call(globals: GlobalOptions, type: string, body: object): Promise<void> {
  const answer = await targetApi(globals).request('POST', '/api/v1', { type, [type.toLowerCase()]: body })
  if (answer.status >= 200 && answer.status < 300) return
  throw new AppError('ERR_CLI_REFUSED', typeof answer.body === 'string' ? answer.body : `answered ${answer.status}`)
}
