import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Command } from 'commander'
import t from 'tap'
import { createProgram } from '../../core/cli/program.ts'
import { repositoryRoot } from '../support/tree.ts'

const folders = ['core', 'networking', 'discovery', 'lb', 'cni-plugins']
const readmes = [
  'README.md',
  ...folders.flatMap((folder) =>
    readdirSync(join(repositoryRoot, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('README.md'))
      .map((file) => join(folder, file)),
  ),
]
const textOf = (file: string) => readFileSync(join(repositoryRoot, file), 'utf8')

/** The command that the words name, and the words that are left; undefined when a word names none. */
function resolve(program: Command, words: readonly string[]): Command | undefined {
  let command = program
  for (const word of words) {
    if (command.commands.length === 0 || word.startsWith('-')) return command
    const next = command.commands.find((candidate) => candidate.name() === word)
    if (next === undefined) return command === program ? undefined : command
    command = next
  }
  return command
}

/** Commands of examples: `npm run weft -- app list --json` → [app, list, --json]. */
function commandsIn(text: string): readonly (readonly string[])[] {
  return [...text.matchAll(/npm run weft -- ([^\n#`|&]+)/g)].map((match) => (match[1] ?? '').trim().split(/\s+/))
}

t.test('commands in READMEs exist, with their options', async (t) => {
  const program = createProgram()
  const known = (command: Command) =>
    [...command.options, ...program.options].flatMap(({ short, long }) => [short, long])
  for (const file of readmes) {
    for (const words of commandsIn(textOf(file))) {
      const command = resolve(program, words)
      t.ok(command, `${file}: ${words.join(' ')}`)
      const own = words.includes('--') ? words.slice(0, words.indexOf('--')) : words
      const unknown = own.filter(
        (word) => word.startsWith('-') && command !== undefined && !known(command).includes(word),
      )
      t.same(unknown, [], `${file}: options of ${words.join(' ')}`)
    }
  }
})

t.test('JSON in READMEs is JSON', async (t) => {
  for (const file of readmes) {
    for (const [, json = ''] of textOf(file).matchAll(/```json\n([\s\S]*?)```/g)) {
      t.doesNotThrow(() => JSON.parse(json), `${file}: ${json.slice(0, 40)}`)
    }
  }
})

t.test('links in READMEs lead to files', async (t) => {
  for (const file of readmes) {
    for (const [, target = ''] of textOf(file).matchAll(/\]\(([^)#:]+)\)/g)) {
      t.doesNotThrow(() => readFileSync(join(repositoryRoot, file, '..', target)), `${file}: ${target}`)
    }
  }
})
