// Runs all tests, or those whose paths are given, and ends with the line that CI reads: `N passed, N failed, N skipped`.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { countTap } from './support/tap.ts'
import { repositoryRoot, sourceFiles } from './support/tree.ts'

const given = process.argv.slice(2)
const files = given.length > 0 ? given : sourceFiles(['test']).filter((file) => file.endsWith('.test.ts'))

/** Lines of a failed file that are shown: more hide the first one. */
const shownLines = 120

/** Shows one line for each file, and all of a file that failed. */
function tellFile(point: string, block: readonly string[]): void {
  console.log(point)
  if (!point.startsWith('not ok')) return
  const first = block.findIndex((line) => /^ *not ok/.test(line))
  for (const line of block.slice(Math.max(0, first), first + shownLines)) console.log(line)
}

const child = spawn('tap', ['run', '--reporter=tap', ...files], {
  cwd: repositoryRoot,
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, TAP_TIMEOUT: '300' },
})
const status = new Promise<number | null>((resolve) => child.on('exit', resolve))
const lines: string[] = []
let block: string[] = []
for await (const line of createInterface({ input: child.stdout })) {
  lines.push(line)
  if (/^(not )?ok \d+ - /.test(line)) {
    tellFile(line, block)
    block = []
  } else {
    block.push(line)
  }
}

const { passed, failed, skipped, reasons } = countTap(lines.join('\n'))
for (const [reason, count] of reasons) console.log(`skipped: ${reason} (${count})`)
const exit = await status
const broken = failed === 0 && exit !== 0 ? 1 : failed
if (broken !== failed) console.log(`tap ended with status ${exit}, though no test failed`)
console.log(`${passed} passed, ${broken} failed, ${skipped} skipped`)
process.exitCode = broken === 0 && passed > 0 ? 0 : 1
