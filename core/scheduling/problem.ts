/** What is wrong at one place of a body. Paths as Marathon writes them: `/container/portMappings(0)/name`. */
export interface Problem {
  readonly path: string
  readonly errors: readonly string[]
}

/** One thing that is wrong at one place. */
export interface Finding {
  readonly path: string
  readonly error: string
}

/** A path from keys and indexes: `['a', 0, 'b']` → `/a(0)/b`. The keys of `env` and `labels` are put in parentheses too. */
export function formatPath(parts: readonly PropertyKey[]): string {
  let path = ''
  let inMap = false
  for (const part of parts) {
    path += typeof part === 'number' || inMap ? `(${String(part)})` : `/${String(part)}`
    inMap = part === 'env' || part === 'labels'
  }
  return path === '' ? '/' : path
}

/** One problem for each path, in the order of first mention. */
export function groupProblems(found: readonly Finding[]): readonly Problem[] {
  const byPath = new Map<string, string[]>()
  for (const { path, error } of found) {
    const errors = byPath.get(path)
    if (errors === undefined) byPath.set(path, [error])
    else errors.push(error)
  }
  return [...byPath].map(([path, errors]) => ({ path, errors }))
}
