// Runs all tests, or those whose paths are given, and ends with the line that CI reads: `N passed, N failed, N skipped`.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repositoryRoot, sourceFiles } from './support/tree.ts'
import { countTap } from './support/tap.ts'

const given = process.argv.slice(2)
const files = given.length > 0 ? given : sourceFiles(['test']).filter((file) => file.endsWith('.test.ts'))
const work = mkdtempSync(join(tmpdir(), 'weft-test-'))
const output = join(work, 'tap')

try {
  const { status } = spawnSync('tap', ['run', '--reporter=terse', `--output-file=${output}`, ...files], {
    cwd: repositoryRoot,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, TAP_TIMEOUT: '300' },
  })
  const { passed, failed, skipped, reasons } = countTap(readFileSync(output, 'utf8'))
  for (const [reason, count] of reasons) console.log(`skipped: ${reason} (${count})`)
  const broken = failed === 0 && status !== 0 ? 1 : failed
  if (broken !== failed) console.log(`tap ended with status ${status}, though no test failed`)
  console.log(`${passed} passed, ${broken} failed, ${skipped} skipped`)
  process.exitCode = broken === 0 && passed > 0 ? 0 : 1
} finally {
  rmSync(work, { recursive: true, force: true })
}
