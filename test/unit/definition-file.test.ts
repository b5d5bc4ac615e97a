import t from 'tap'
import { parseDefinitions, readDefinitionFile } from '../../core/cli/definition-file.ts'

t.test('what is read', async (t) => {
  const cases: readonly (readonly [string, string, readonly unknown[]])[] = [
    ['JSON', '{"id": "/a", "cpus": 0.5, "path": "a\\/b", "n": null}', [{ id: '/a', cpus: 0.5, path: 'a/b', n: null }]],
    ['a list', '[{"id": "/a"}, {"id": "/b"}]', [[{ id: '/a' }, { id: '/b' }]]],
    ['JSON with tabs', '{\n\t"id":\t"/a",\n\t"env": {"A": "on"}\n}\n', [{ id: '/a', env: { A: 'on' } }]],
    ['YAML', '# an app\nid: /a\ncmd: |\n  one\n  two\n', [{ id: '/a', cmd: 'one\ntwo\n' }]],
    ['several', 'id: /a\n---\nid: /b\n---\n', [{ id: '/a' }, { id: '/b' }]],
    ['what YAML 1.1 took for other things', 'a: on\nb: 012\nc: 1:30\n', [{ a: 'on', b: 12, c: '1:30' }]],
  ]
  for (const [name, text, values] of cases) {
    t.same(
      parseDefinitions(text, 'f').map(({ value }) => value),
      values,
      name,
    )
  }
})

t.test('what is refused, and where', async (t) => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['a comma is missing', '{\n  "id": "/a"\n  "cmd": "x"\n}', /^f:3:3: /],
    ['a brace is missing', '{"id": "/a"', /^f:1:12: /],
    ['a key twice', 'id: /a\ncpus: 1\ncpus: 2\n', /^f:3:1: .*unique/],
    ['tabs for indentation', 'run:\n\tcmd: x\n', /^f:2:1: /],
    ['nothing', '\n# only a comment\n', /no definition/],
    ['nothing at all', '', /no definition/],
    ['too many aliases', bomb(), /alias/i],
  ]
  for (const [name, text, message] of cases) {
    t.throws(() => parseDefinitions(text, 'f'), { code: 'ERR_CLI_USAGE', message }, name)
  }
  t.throws(() => readDefinitionFile('/nowhere/a.yaml'), { code: 'ERR_CLI_USAGE', message: /no file/ })
  t.throws(() => readDefinitionFile('/'), { code: 'ERR_CLI_USAGE', message: /folder/ })
})

t.test('where a field stands', async (t) => {
  const [first, second] = parseDefinitions('id: /a\nports:\n  - port: 1\n    name: x\n---\nid: /b\n', 'f')
  t.same(first?.placeOf(['ports', 0, 'name']), { line: 4, column: 11 })
  t.same(first?.placeOf(['ports', 0, 'missing']), { line: 3, column: 5 })
  t.same(first?.placeOf([]), { line: 1, column: 1 })
  t.same(second?.placeOf(['id']), { line: 6, column: 5 })
})

/** A thousand million words out of ten lines. */
function bomb(): string {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
  for (let i = 1; i < 9; i++) lines.push(`a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(', ')}]`)
  return lines.join('\n')
}
