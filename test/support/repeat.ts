import { type Test } from 'tap'

/** How a suite is skipped, and how long it may take. */
export interface RepeatOptions {
  readonly skip?: string | false
  readonly timeout?: number
}

/** How often tests of faults run in a row: WEFT_REPEAT, once when it says nothing. */
export function repetitions(): number {
  const asked = Number(process.env['WEFT_REPEAT'] ?? 1)
  return Number.isInteger(asked) && asked > 0 ? asked : 1
}

/** A suite, as often as WEFT_REPEAT asks; each time counts. */
export async function repeatedly(
  t: Pick<Test, 'test'>,
  name: string,
  { skip = false, suite }: RepeatOptions & { readonly suite: (t: Test) => Promise<void> },
): Promise<void> {
  const times = repetitions()
  for (let round = 1; round <= times; round++) {
    await t.test(times === 1 ? name : `${name}: ${round} of ${times}`, { skip }, suite)
  }
}
