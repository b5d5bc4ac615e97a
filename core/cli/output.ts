import Table from 'cli-table3'

/** How a command tells its result. */
export interface OutputOptions {
  readonly json: boolean
}

/** Prints the value as JSON, or as text when a person reads. */
export function print(value: unknown, text: (value: never) => string, { json }: OutputOptions): void {
  process.stdout.write(`${json ? JSON.stringify(value, undefined, 2) : text(value as never)}\n`)
}

/** A plain table: no lines between rows, so that it can be cut with awk. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const none = ''
  const chars = {
    top: none,
    'top-mid': none,
    'top-left': none,
    'top-right': none,
    bottom: none,
    'bottom-mid': none,
    'bottom-left': none,
    'bottom-right': none,
    left: none,
    'left-mid': none,
    mid: none,
    'mid-mid': none,
    right: none,
    'right-mid': none,
    middle: '  ',
  }
  const style = { head: [], border: [], 'padding-left': 0, 'padding-right': 0 }
  const table = new Table({ head: [...head], chars, style })
  table.push(...rows.map((row) => [...row]))
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '')
    .join('\n')
}
