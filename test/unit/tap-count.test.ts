import t from 'tap'
import { countTap } from '../support/tap.ts'

const cases = [
  { name: 'flat', tap: 'ok 1 - a\nnot ok 2 - b\n1..2\n', count: [1, 1, 0] },
  {
    name: 'a subtest is not counted twice',
    tap: '    ok 1 - a\n    ok 2 - b\n    1..2\nok 1 - file\n',
    count: [2, 0, 0],
  },
  { name: 'a failure below is counted once', tap: '    not ok 1 - a\nnot ok 1 - file\n', count: [0, 1, 0] },
  { name: 'a file that fails by itself', tap: '    ok 1 - a\nnot ok 1 - file # time-out\n', count: [1, 1, 0] },
  { name: 'skipped, with the reason', tap: 'ok 1 - x # SKIP needs root\n', count: [0, 0, 1] },
  {
    name: 'a file after a failed one',
    tap: '    not ok 1 - a\nnot ok 1 - f\n    ok 1 - b\nok 2 - g\n',
    count: [1, 1, 0],
  },
]

for (const { name, tap, count } of cases) {
  t.test(name, async (t) => {
    const { passed, failed, skipped } = countTap(tap)
    t.same([passed, failed, skipped], count)
  })
}

t.test('reasons are counted', async (t) => {
  t.same([...countTap('ok 1 - x # SKIP needs root\nok 2 - y # SKIP needs root\n').reasons], [['needs root', 2]])
})
