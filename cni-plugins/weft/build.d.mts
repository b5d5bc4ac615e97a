/** See build.mjs. */
export function buildCniClient(options?: {
  readonly output?: string
  /** `none` makes the fallback in any case. */
  readonly compiler?: string
  /** `c`: the client with a C library, which else is for machines that bare.c does not know. */
  readonly library?: 'c' | 'none'
}): 'c' | 'fallback'
