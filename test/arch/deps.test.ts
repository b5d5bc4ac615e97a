import { readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import t from 'tap'
import { repositoryRoot, sourceFiles } from '../support/tree.ts'
import { allowedImports, mechanism, pureFileNames } from './table.ts'

const files = sourceFiles(['core', 'networking', 'discovery', 'lb', 'cni-plugins'])

/** Specifiers of static and dynamic imports. */
function importsOf(file: string): readonly string[] {
  const text = readFileSync(join(repositoryRoot, file), 'utf8')
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] ?? '')
}

/** The folder of the tree that a file belongs to: the longest entry of the table that leads its path. */
function folderOf(file: string): string | undefined {
  return Object.keys(allowedImports)
    .filter((folder) => file === folder || file.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length)[0]
}

/** Composition roots may import all that they compose. */
function isRoot(file: string): boolean {
  return file.endsWith('/main.ts') || file.startsWith('core/cli/')
}

function within(file: string, folder: string): boolean {
  return file === folder || file.startsWith(`${folder}/`)
}

function mayImport(from: string, to: string): boolean {
  if (isRoot(from)) return true
  const folder = folderOf(from)
  if (folder === undefined) return false
  if (within(to, folder)) return true
  return (allowedImports[folder] ?? []).some((allowed) => within(to, allowed))
}

t.test('each file imports only what its folder may', async (t) => {
  const broken = files.flatMap((file) =>
    importsOf(file)
      .filter((specifier) => specifier.startsWith('.'))
      .map((specifier) => relative(repositoryRoot, resolve(repositoryRoot, dirname(file), specifier)))
      .filter((target) => !mayImport(file, target))
      .map((target) => `${file} -> ${target}`),
  )
  t.same(broken, [], 'the table is test/arch/table.ts')
})

t.test('the table can refuse', async (t) => {
  t.notOk(mayImport('lb/vip/desired.ts', 'networking/overlay/plan.ts'))
  t.notOk(mayImport('core/agent/executor.ts', 'core/master/state.ts'))
  t.ok(mayImport('lb/stage.ts', mechanism[0] ?? ''))
})

t.test('pure files import no module of Node and no adapter', async (t) => {
  const broken = files
    .filter((file) => pureFileNames.some((name) => file.endsWith(`/${name}.ts`)))
    .flatMap((file) =>
      importsOf(file)
        .filter((specifier) => specifier.startsWith('node:') || specifier.includes('/native.ts'))
        .map((specifier) => `${file} -> ${specifier}`),
    )
  t.same(broken, [])
})

t.test('nothing imports test', async (t) => {
  t.same(
    files.filter((file) => importsOf(file).some((specifier) => /(^|\/)test\//.test(specifier))),
    [],
  )
})

t.test('koffi is loaded in named files only', async (t) => {
  const loaders = files.filter((file) => importsOf(file).includes('koffi'))
  // native-udp: many datagrams with one call, in threads of its own; discovery imports no other domain.
  const named = ['discovery/worker/native-udp.ts', 'networking/netlink/native.ts', 'networking/nft/libnftables.ts']
  t.same(loaders.toSorted(), named)
})
