import t from 'tap'
import { addressWords, makeGatherer } from '../../discovery/worker/gather.ts'
import { makePace } from '../../discovery/worker/pace.ts'

/** Which responses each message has. */
function messages(
  responses: readonly { readonly client: number; readonly length: number }[],
  segments: 'cut' | 'never' = 'cut',
): readonly (readonly number[])[] {
  const gatherer = makeGatherer(64, segments)
  const names = new Uint32Array(64 * addressWords)
  for (const [i, { client }] of responses.entries()) names.set([client << 16, 0x7f000001], i * addressWords)
  const lengths = Uint32Array.from({ length: 64 }, (_, i) => responses[i]?.length ?? 0)
  const froms = Uint32Array.from({ length: 64 }, (_, i) => i)
  // What an earlier batch left behind counts for nothing.
  gatherer.gather({ lengths, froms, names }, responses.length)
  const count = gatherer.gather({ lengths, froms, names }, responses.length)
  return Array.from({ length: count }, (_, message) => {
    const parts: number[] = []
    for (let i = gatherer.first[message] ?? -1; i >= 0; i = gatherer.next[i] ?? -1) parts.push(i)
    t.equal(gatherer.sizes[message], parts.length)
    return parts
  })
}

t.test('responses of one size to one client are one message', async (t) => {
  const [a, b] = [
    { client: 1, length: 100 },
    { client: 2, length: 100 },
  ]
  t.same(messages([]), [])
  t.same(messages([a, a, b, a, { ...a, length: 90 }, b]), [[0, 1, 3], [2, 5], [4]])
  t.same(messages([a, a], 'never'), [[0], [1]])
  t.same(
    messages([
      { ...a, length: 1001 },
      { ...a, length: 1001 },
    ]),
    [[0], [1]],
    'large ones go alone',
  )
  const many = Array.from({ length: 64 }, (_, i) => ({ client: i % 40, length: 50 + (i % 3) }))
  t.same(
    messages(many)
      .flat()
      .toSorted((left, right) => left - right),
    many.map((_, i) => i),
    'each once',
  )
})

t.test('waiting pays only under load', async (t) => {
  let pauses = 0
  const pace = makePace(() => pauses++)
  for (let i = 0; i < 1000; i++) pace(1)
  t.equal(pauses, 0, 'one at a time')
  for (let i = 0; i < 100; i++) pace(4)
  t.ok(pauses > 80, 'a few at a time')
  const before = pauses
  for (let i = 0; i < 100; i++) pace(64)
  t.equal(pauses, before, 'there is enough')
  for (let i = 0; i < 200; i++) pace(1)
  t.ok(pauses < before + 100, 'it ends')
})
