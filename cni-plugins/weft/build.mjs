/**
 * Makes `bin/weft`, the executable that runtimes start: the C client where there is a compiler, else a script that starts
 * client.mjs. Plain JavaScript without packages: set-up runs it on whatever Node there is, from version 20.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { argv, execPath } from 'node:process'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const source = join(here, 'weft-cni.c')
const bare = join(here, 'bare.c')
const header = join(here, 'text.h')

/**
 * Builds when the source is newer than what is there.
 * @param {{ output?: string, compiler?: string, library?: 'c' | 'none' }} [options] `compiler: 'none'` makes the fallback
 *   in any case, `library: 'c'` the client with a C library
 * @returns {'c' | 'fallback'} which client is there now
 */
export function buildCniClient({ output = join(here, 'bin', 'weft'), compiler = 'cc', library = 'none' } = {}) {
  if (compiler !== 'none' && isFreshBinary(output)) return 'c'
  mkdirSync(dirname(output), { recursive: true })
  if (compiler !== 'none' && compile(compiler, output, library)) return 'c'
  installFallback(output)
  return 'fallback'
}

function isFreshBinary(output) {
  if (!existsSync(output) || [source, bare, header].some((file) => statSync(output).mtimeMs < statSync(file).mtimeMs))
    return false
  return readFileSync(output).subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'))
}

/** Neither a table of stack guards nor calls of functions that bare.c has not. */
const bareOptions = ['-ffreestanding', '-fno-stack-protector', '-fno-pie', '-U_FORTIFY_SOURCE', '-nostdlib', '-static']

/**
 * Without a C library where that compiles; else static where the machine has a static C library. Each starts in a third
 * of the time of the next.
 */
function compile(compiler, output, library) {
  const temporary = `${output}.new-${process.pid}`
  const alone = library === 'none' ? [[...bareOptions, bare]] : []
  for (const mode of [...alone, ['-static'], []]) {
    try {
      execFileSync(compiler, ['-O2', '-s', '-o', temporary, source, ...mode], { stdio: 'ignore' })
      renameSync(temporary, output)
      return true
    } catch {
      rmSync(temporary, { force: true }) // ENOENT: no compiler; else it cannot link this way
    }
  }
  return false
}

function installFallback(output) {
  const pinned = join(here, '..', '..', 'node_modules', '.bin', 'node')
  const node = existsSync(pinned) ? pinned : execPath
  // The name it is started by says whether it gives addresses only. The comment is how `weft cni` knows it.
  const script = `#!/bin/sh\n# weft-cni-plugin-marker\nexec ${quote(node)} ${quote(join(here, 'client.mjs'))} "$0"\n`
  if (existsSync(output) && readFileSync(output, 'utf8') === script) return
  const temporary = `${output}.new-${process.pid}`
  writeFileSync(temporary, script)
  chmodSync(temporary, 0o755)
  renameSync(temporary, output)
}

function quote(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

if (argv[1] !== undefined && fileURLToPath(import.meta.url) === argv[1]) console.log(buildCniClient())
