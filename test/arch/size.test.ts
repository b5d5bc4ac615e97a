import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { repositoryRoot, sourceFiles } from '../support/tree.ts'

const linesOf = (file: string) => readFileSync(join(repositoryRoot, file), 'utf8').split('\n').length - 1
const files = sourceFiles(['core', 'networking', 'discovery', 'lb', 'cni-plugins', 'test'])

t.test('no file is over 400 lines', async (t) => {
  t.same(
    files.filter((file) => linesOf(file) > 400),
    [],
  )
})

t.test('the median file is near 120 lines', async (t) => {
  const sizes = files.map(linesOf).toSorted((a, b) => a - b)
  t.ok((sizes[Math.floor(sizes.length / 2)] ?? 0) <= 140)
})

t.test('each domain has a README with the same headings', async (t) => {
  const headings = ['Purpose', 'How it works', 'Configuration', 'Metrics', 'When it breaks', 'Examples']
  for (const folder of ['core', 'networking', 'discovery', 'lb', 'cni-plugins']) {
    const text = readFileSync(join(repositoryRoot, folder, 'README.md'), 'utf8')
    t.same(
      headings.filter((heading) => !text.includes(`\n## ${heading}\n`)),
      [],
      folder,
    )
  }
})
