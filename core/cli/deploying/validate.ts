import { AppError } from '../../base/errors.ts'
import { requireNoConflict } from '../../services/commands.ts'
import { type AppDefinition } from '../../services/app.ts'
import { type CheckContext } from '../../services/check.ts'
import { rootGroup } from '../../services/ids.ts'
import { parseApp } from '../../services/parse-app.ts'
import { groupIdOf, parseGroup } from '../../services/parse-group.ts'
import { parsePod } from '../../services/pods-parse.ts'
import { problemsOf } from '../../services/problem.ts'
import { type Problem } from '../../scheduling/problem.ts'
import { isRecord } from '../api.ts'
import { type WantedItem } from './wanted.ts'

/** What is wrong in a file, and where. */
export interface FileProblem {
  readonly line: number
  readonly column: number
  readonly path: string
  readonly errors: readonly string[]
}

/**
 * What the master would refuse, found by its own parser, without a master. What only a cluster knows is not looked at:
 * whether networks, dependencies and VIP addresses are there.
 */
export function validate(items: readonly WantedItem[]): readonly FileProblem[] {
  const apps: { readonly item: WantedItem; readonly definition: AppDefinition }[] = []
  const problems = items.flatMap((item) => {
    const found = problemsIn(() => {
      if (item.kind === 'app') apps.push({ item, definition: parseApp(item.body, contextOf(item.body)) })
      else if (item.kind === 'group') checkGroup(item.body)
      else parsePod(item.body, contextOf(item.body))
    })
    return found.map((problem) => locate(item, problem))
  })
  const between = problemsIn(() => requireNoConflict(apps.map(({ definition }) => definition)))
  return [...problems, ...between.flatMap((problem) => locateIn(apps, problem))]
}

function locate(item: WantedItem, { path, errors }: Problem): FileProblem {
  return { ...item.placeOf(path), path, errors }
}

/** Of several apps: `/(1)/id` is the second one's. */
function locateIn(apps: readonly { readonly item: WantedItem }[], { path, errors }: Problem): readonly FileProblem[] {
  const [, index, rest = '/'] = /^\/\((\d+)\)(.*)$/.exec(path) ?? []
  const item = apps[Number(index)]?.item
  return item === undefined ? [] : [locate(item, { path: rest, errors })]
}

function checkGroup(body: unknown): void {
  const id = groupIdOf(body, rootGroup)
  parseGroup(body, { id: id ?? rootGroup, check: contextOf(body) })
}

function problemsIn(run: () => void): readonly Problem[] {
  try {
    run()
    return []
  } catch (error) {
    const problems = problemsOf(error)
    if (problems.length > 0) return problems
    if (error instanceof AppError) return [{ path: '/', errors: [error.message] }]
    throw error
  }
}

/** Every network that is named may exist. */
function contextOf(body: unknown): CheckContext {
  return { networkNames: new Set(networkNames(body)), vipConflict: () => undefined, pathConflict: () => undefined }
}

function networkNames(value: unknown): readonly string[] {
  if (Array.isArray(value)) return value.flatMap(networkNames)
  if (!isRecord(value)) return []
  return Object.entries(value).flatMap(([key, field]) => {
    if (key === 'networks' && Array.isArray(field)) {
      return field.flatMap((network) => (isRecord(network) ? [String(network['name'] ?? '')] : []))
    }
    if (key === 'networkName' && typeof field === 'string') return [field] // ipAddress of before Marathon 1.5
    return networkNames(field)
  })
}
