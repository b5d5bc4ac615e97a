/** See build.mjs. */
export function buildCniClient(options?: {
  readonly output?: string
  /** `none` makes the fallback in any case. */
  readonly compiler?: string
}): 'c' | 'fallback'
