import { type Ip } from '../../core/base/ip.ts'
import { type Explanation, type Finding, type PathReport } from './model.ts'

/** The answer for a person: what was seen in the order of the way, and at the end the first thing that is wrong. */
export function formatExplanation(explanation: Explanation): string {
  const { version, from, to, name, vips, findings, paths, problem } = explanation
  const sections = [
    `${from} → ${to} (version ${version})`,
    ...(name?.records ?? []).map(({ address, from: entities }) => `  record ${address} from ${entities.join(', ')}`),
    ...findings.map(formatFinding),
    ...vips.flatMap(({ backends }) =>
      backends.map(
        (backend) => `  backend ${withPort(backend.address, backend.port)} weight ${backend.weight}: ${backend.task}`,
      ),
    ),
    ...paths.flatMap(formatPath),
    problem === undefined
      ? 'nothing is wrong'
      : `first thing wrong: ${problem.area} on ${problem.node}: ${problem.text}`,
    ...(problem?.fix === undefined ? [] : [`to put it right: ${problem.fix}`]),
  ]
  return sections.join('\n')
}

function formatPath({ source, destination, port, protocol, findings }: PathReport): readonly string[] {
  const to = port === undefined ? destination.address : withPort(destination.address, port)
  const head = `${source.name} ${source.address} → ${destination.name} ${to} ${protocol}`
  return [head, ...findings.map(formatFinding)]
}

function formatFinding({ area, node, holds, text }: Finding): string {
  return `  ${holds ? 'ok   ' : 'WRONG'} ${area.padEnd(9)} ${node}: ${text}`
}

function withPort(address: Ip, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
