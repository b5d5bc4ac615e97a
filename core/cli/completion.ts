import { type Argument, type Command, type Option } from 'commander'

/** Shells for which {@link formatCompletion} writes a script. */
export const shells = ['bash', 'zsh', 'fish'] as const
/** One of {@link shells}. */
export type Shell = (typeof shells)[number]

/** A command as completion needs it. */
interface Node {
  /** `['app', 'deploy']`; empty: weft itself. */
  readonly path: readonly string[]
  readonly description: string
  readonly options: readonly Option[]
  /** What each argument names: `file`, a kind that `weft __complete` knows, or `-`. */
  readonly kinds: readonly string[]
  readonly children: readonly Node[]
}

/** Commands whose `<id>` or `<name>` is one that there is; those that make one are left out. */
const namedKinds: ReadonlySet<string> = new Set([
  'app',
  'group',
  'pod',
  'deployment',
  'job',
  'network',
  'node',
  'vip',
  'policy',
])
const makers: ReadonlySet<string> = new Set(['create', 'add'])

/** A script for the shell, to be read by it at its start: `source <(weft completion bash)`. */
export function formatCompletion(program: Command, shell: Shell): string {
  const root = nodeOf(program, [])
  return shell === 'fish' ? formatFish(root) : formatBash(root, shell)
}

function nodeOf(command: Command, path: readonly string[]): Node {
  const children = command.commands.filter((child) => !child.name().startsWith('_'))
  return {
    path,
    description: command.description(),
    options: command.options.filter((option) => option.long !== undefined && option.long !== null),
    kinds: command.registeredArguments.map((argument) => kindOf(argument, path)),
    children: children.map((child) => nodeOf(child, [...path, child.name()])),
  }
}

function kindOf(argument: Argument, path: readonly string[]): string {
  const name = argument.name()
  const [parent = '', own = ''] = path
  if (name.includes('file')) return 'file'
  if (['task', 'where', 'from', 'to'].includes(name)) return 'task'
  const isNamed = (name === 'id' || name === 'name' || name === 'network') && !makers.has(own)
  if (name === 'network') return 'network'
  return isNamed && namedKinds.has(parent) ? parent : '-'
}

function allNodes(node: Node): readonly Node[] {
  return [node, ...node.children.flatMap(allNodes)]
}

function wordsOf({ options, children }: Node): string {
  const flags = options.flatMap(({ short, long }) =>
    [long, short].filter((flag) => flag !== undefined && flag !== null),
  )
  return [...children.map(({ path }) => path.at(-1)), ...flags, '--help'].join(' ')
}

/** The same function serves zsh, which reads completions of bash. */
function formatBash(root: Node, shell: 'bash' | 'zsh'): string {
  const nodes = allNodes(root)
  const withValue = new Set(nodes.flatMap(({ options }) => options.filter(takesValue).map(({ long }) => long)))
  const paths = nodes.filter(({ path }) => path.length > 0).map(({ path }) => `" ${path.join(' ')}"`)
  const cases = nodes.map((node) => {
    const path = node.path.map((word) => ` ${word}`).join('')
    return `    "${path}") words="${wordsOf(node)}"; kinds="${node.kinds.join(' ')}" ;;`
  })
  return `# Completion of weft. Read it: source <(weft completion ${shell})
${shell === 'zsh' ? 'autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n' : ''}_weft() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" path="" words="" kinds="" kind="" where="" args=0 i w
  for ((i = 1; i < COMP_CWORD; i++)); do
    w="\${COMP_WORDS[i]}"
    case "$w" in
      --cluster|--master) where="$where $w \${COMP_WORDS[i+1]}"; i=$((i + 1)); continue ;;
      ${[...withValue].filter((long) => long !== '--cluster' && long !== '--master').join('|')}) i=$((i + 1)); continue ;;
      -*) continue ;;
    esac
    case "$path $w" in
      ${paths.join('|')}) path="$path $w" ;;
      *) args=$((args + 1)) ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  i=0
  for w in $(echo $kinds); do
    if [ "$i" -eq "$args" ]; then kind="$w"; fi
    i=$((i + 1))
  done
  case "$kind" in
    ""|-) ;;
    file) COMPREPLY+=($(compgen -f -- "$cur")) ;;
    *) COMPREPLY+=($(compgen -W "$(weft __complete $(echo $kind $where) 2>/dev/null)" -- "$cur")) ;;
  esac
}
complete -F _weft weft
`
}

function takesValue({ required, optional }: Option): boolean {
  return required || optional
}

function formatFish(root: Node): string {
  const lines = allNodes(root).flatMap((node) => {
    const path = node.path.join(' ')
    const at = path === '' ? '' : `-n '__weft_below ${path}' `
    const children = node.children.map(
      (child) => `complete -c weft -f -n '__weft_at ${path}' -a ${child.path.at(-1)} -d ${quote(child.description)}`,
    )
    const options = node.options.map(
      (option) => `complete -c weft ${at}${fishFlags(option)} -d ${quote(option.description)}`,
    )
    const first = node.kinds[0] ?? '-'
    const names =
      first === '-' ? [] : [`complete -c weft ${at}${first === 'file' ? '-F' : `-f -a '(weft __complete ${first})'`}`]
    return [...children, ...options, ...names]
  })
  return `# Completion of weft. Read it: weft completion fish | source
function __weft_words
  commandline -opc | string match -v -- '-*' | tail -n +2
end
function __weft_at
  test "$(__weft_words | string join ' ')" = "$(string join ' ' $argv)"
end
function __weft_below
  string match -q -- (string join ' ' $argv)'*' (__weft_words | string join ' ')
end
complete -c weft -f
${lines.join('\n')}
`
}

function fishFlags(option: Option): string {
  const short = option.short === undefined || option.short === null ? '' : ` -s ${option.short.slice(1)}`
  return `-l ${String(option.long).slice(2)}${short}${takesValue(option) ? ' -x' : ''}`
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
