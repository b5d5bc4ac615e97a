import { type FetchUri } from '../../../model/container.ts'
import { type CommandInfo } from '../../../model/task.ts'
import { malformed, refuseFields, unsupported } from '../../../api/mesos/problem.ts'
import { type commandWire, type Wire } from '../../../api/mesos/wire.ts'

type CommandWire = Wire<typeof commandWire>

/** CommandInfo, without its URIs. `user` is who runs it when it does not say: the framework's. @throws ERR_SCHEDULER_… */
export function parseCommand(wire: CommandWire, path: string, user: string): CommandInfo {
  if (wire.shell && wire.value === '') throw malformed(`${path}.value`, 'is empty: give a command for the shell')
  const variables = wire.environment?.variables ?? []
  const env = variables.map(({ name, value, type = 'VALUE' }, index): [string, string] => {
    const at = `${path}.environment.variables[${index}]`
    if (type === 'SECRET') throw unsupported(`${at}.secret`, 'give secrets as volumes')
    if (value === undefined) throw malformed(`${at}.value`, 'is missing')
    return [name, value]
  })
  const runAs = wire.user ?? user
  return {
    shell: wire.shell,
    value: wire.value,
    // With a shell Mesos ignores them.
    arguments: wire.shell ? [] : wire.arguments,
    env: Object.fromEntries(env),
    ...(runAs === '' ? {} : { user: runAs }),
  }
}

/** What is fetched before the command starts. @throws ERR_SCHEDULER_UNSUPPORTED */
export function parseUris({ uris }: CommandWire, path: string): readonly FetchUri[] {
  return uris.map(({ value, executable, extract, cache, output_file: outputFile, ...rest }, index) => {
    refuseFields(rest, `${path}.uris[${index}]`, ['digest'])
    // Mesos: what is executable is not unpacked.
    const common = { uri: value, executable, extract: extract && !executable, cache }
    return { ...common, ...(outputFile === undefined ? {} : { outputFile }) }
  })
}
