import { formatTable } from '../output.ts'
import { sampleTaskName, sampleVip } from '../sample/apps.ts'
import { type Fact, runCheck, sampleChecks } from './checks.ts'
import { type LocalCluster } from './cluster.ts'
import { recordsOf, type SampleTask, sampleTasks, sampleVipAddresses } from './sample.ts'

/** A readable account of the running sample: what there is, what answered, what to try. */
export async function sampleReport({ layout, api }: LocalCluster): Promise<string> {
  const tasks = await sampleTasks(api)
  const vips = await sampleVipAddresses(api)
  const facts: Fact[] = []
  for (const check of sampleChecks({ layout, tasks, vips })) facts.push(await runCheck(check))
  const nodes = await recordsOf(api, '/weft/v1/nodes', 'nodes')
  return [
    section('Hosts', hostTable(nodes)),
    section('Tasks', taskTable(tasks)),
    section(
      'Names and virtual addresses',
      `${sampleTaskName}  every web task\n${sampleVip.name}:${sampleVip.port}  ${vips.join(' ')}`,
    ),
    section('What answered', facts.map(formatFact).join('\n')),
    section('Try', suggestions(tasks, api.url)),
  ].join('\n')
}

function section(title: string, text: string): string {
  return `\n${title}\n${text.replace(/^/gm, '  ')}`
}

function hostTable(nodes: readonly Record<string, unknown>[]): string {
  const rows = nodes.map((node) => [node['name'], node['underlay'], node['agentId'] ?? 'master'].map(String))
  return formatTable(['HOST', 'UNDERLAY', 'AGENT'], rows)
}

function taskTable(tasks: readonly SampleTask[]): string {
  const rows = tasks.map(({ id, node, addresses }) => [id, node, addresses.join(' ')])
  return formatTable(['TASK', 'HOST', 'ADDRESSES'], rows)
}

function formatFact({ title, holds, detail }: Fact): string {
  return `${holds ? 'ok ' : 'NOT'} ${title}: ${detail.split('\n').at(holds ? -1 : 0)}`
}

function suggestions(tasks: readonly SampleTask[], url: string): string {
  const task = tasks.find(({ app }) => app === '/client')?.id ?? 'client'
  return [
    `npm run weft -- exec agent1 -- dig ${sampleTaskName}`,
    `npm run weft -- exec ${task} -- curl -s http://${sampleVip.name}/`,
    `npm run weft -- app scale /web 5 && npm run weft -- vip list`,
    `npm run weft -- task list`,
    `curl -s ${url}/v2/apps`,
    'Ctrl-C, or npm run weft -- down: removes everything',
  ].join('\n')
}
