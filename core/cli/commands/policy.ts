import { readFileSync } from 'node:fs'
import { AppError } from '../../base/errors.ts'
import { type Ip, parseIp } from '../../base/ip.ts'
import { formatSelector, type Policy, parsePolicyName, parsePolicyPorts, parseSelector } from '../../model/policy.ts'
import { type ClusterSnapshot } from '../../model/snapshot.ts'
import { type Flow, judge, type Judgement } from '../../../networking/isolation/judge.ts'
import { isRecord } from '../api.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { recordsOf } from '../up/sample.ts'
import { policyCounters, type RecordedFlow, recordedFlows } from './policy-nodes.ts'
import { readSnapshot } from './snapshot.ts'
import { targetApi } from './target.ts'

/** What a policy is made of on the command line. */
export interface PolicyOptions {
  readonly from: string
  readonly to: string
  readonly protocol?: string
  readonly ports: readonly string[]
  readonly priority?: string
  readonly both: boolean
  readonly dryRun: boolean
}

/** `weft policy add allow|deny NAME`, or `weft policy add FILE`. */
export async function addPolicy(
  globals: GlobalOptions & PolicyOptions,
  action: string,
  name: string | undefined,
): Promise<void> {
  const body = name === undefined ? readBody(action) : bodyOf(globals, action, name)
  const api = targetApi(globals)
  const { body: answer } = await api.send('POST', `/weft/v1/policies${globals.dryRun ? '?dryRun=true' : ''}`, body)
  const policy = isRecord(answer) ? answer : {}
  if (!globals.dryRun) {
    print(answer, () => `policy ${policy['name']} is added (version ${policy['version']})`, globals)
    return
  }
  const changes = changedFlows(await readSnapshot(api), parsePolicy(policy), await recordedFlows(globals))
  print({ ...policy, changes }, () => formatChanges(changes), globals)
}

/** `weft policy list`: in the order in which they are asked. */
export async function listPolicies(globals: GlobalOptions): Promise<void> {
  const policies = await recordsOf(targetApi(globals), '/weft/v1/policies', 'policies')
  const keys = ['priority', 'name', 'action', 'from', 'to', 'protocol', 'ports', 'direction']
  const rows = policies.map((policy) => keys.map((key) => String(policy[key] ?? '-') || '-'))
  print(
    policies,
    () =>
      formatTable(
        keys.map((key) => key.toUpperCase()),
        rows,
      ),
    globals,
  )
}

/** `weft policy show NAME`: with the packets that it decided, on each host of a local cluster. */
export async function showPolicy(globals: GlobalOptions, name: string): Promise<void> {
  const policy = await targetApi(globals).get(`/weft/v1/policies/${encodeURIComponent(name)}`)
  const counters = await policyCounters(globals, name)
  const value = { ...(isRecord(policy) ? policy : {}), counters }
  print(value, () => JSON.stringify(value, undefined, 2), globals)
}

/** `weft policy remove NAME`. */
export async function removePolicy(globals: GlobalOptions, name: string): Promise<void> {
  const { body } = await targetApi(globals).send('DELETE', `/weft/v1/policies/${encodeURIComponent(name)}`)
  print(body, () => `policy ${name} is removed`, globals)
}

/** `weft policy isolate NETWORK strict|open`. */
export async function isolateNetwork(globals: GlobalOptions, name: string, mode: string): Promise<void> {
  const path = `/weft/v1/networks/${encodeURIComponent(name)}/isolation`
  const { body } = await targetApi(globals).send('PUT', path, { mode })
  print(body, () => `network ${name} is ${mode}`, globals)
}

/** `weft policy test FROM TO[:PORT/PROTOCOL]`: what nodes do with a connection's first packet. Exits with 1 for a drop. */
export async function testPolicies(globals: GlobalOptions, from: string, to: string): Promise<void> {
  const snapshot = await readSnapshot(targetApi(globals))
  const flow = parseFlow(snapshot, from, to)
  const judgement = judge(snapshot, flow)
  print({ ...flow, ...viewOf(judgement) }, () => `${judgement.verdict}: ${formatReason(judgement)}`, globals)
  if (judgement.verdict === 'drop') process.exitCode = 1
}

function bodyOf(options: PolicyOptions, action: string, name: string): object {
  const { from, to, protocol, ports, priority, both } = options
  return {
    name,
    action,
    from,
    to,
    ...(protocol === undefined ? {} : { protocol }),
    ...(ports.length === 0 ? {} : { ports }),
    ...(priority === undefined ? {} : { priority: Number(priority) }),
    ...(both ? { direction: 'both' } : {}),
  }
}

function readBody(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file === '-' ? 0 : file, 'utf8'))
  } catch (cause) {
    const usage = 'weft policy add allow|deny NAME --from … --to …, or weft policy add FILE'
    throw new AppError('ERR_CLI_USAGE', `"${file}" is no readable JSON file; ${usage}`, { cause })
  }
}

/** The master's answer has all defaults filled in. */
function parsePolicy(view: Readonly<Record<string, unknown>>): Policy {
  const text = (key: string) => String(view[key])
  const protocols = ['any', 'tcp', 'udp', 'icmp'] as const
  return {
    name: parsePolicyName(text('name')),
    priority: Number(view['priority']),
    action: view['action'] === 'deny' ? 'deny' : 'allow',
    from: parseSelector(text('from')),
    to: parseSelector(text('to')),
    protocol: protocols.find((protocol) => protocol === view['protocol']) ?? 'any',
    ports: Array.isArray(view['ports']) ? view['ports'].map(String).map(parsePolicyPorts) : [],
    direction: view['direction'] === 'both' ? 'both' : 'forward',
  }
}

interface FlowChange extends RecordedFlow {
  readonly before: Judgement['verdict']
  readonly after: Judgement['verdict']
}

function changedFlows(
  snapshot: ClusterSnapshot,
  policy: Policy,
  flows: readonly RecordedFlow[],
): readonly FlowChange[] {
  const changed = { ...snapshot, policies: new Map([...snapshot.policies, [policy.name, policy]]) }
  return flows.flatMap((flow) => {
    const [before, after] = [judge(snapshot, flow).verdict, judge(changed, flow).verdict]
    return before === after ? [] : [{ ...flow, before, after }]
  })
}

function formatChanges(changes: readonly FlowChange[]): string {
  if (changes.length === 0) return 'no recorded flow would change'
  const rows = changes.map(({ source, destination, protocol, port, before, after }) => {
    return [protocol, source, destination, port === undefined ? '-' : String(port), before, after]
  })
  return formatTable(['PROTOCOL', 'SOURCE', 'DESTINATION', 'PORT', 'NOW', 'THEN'], rows)
}

function parseFlow(snapshot: ClusterSnapshot, from: string, to: string): Flow {
  const match = /^(.*?)(?::(\d{1,5}))?(?:\/(tcp|udp|icmp))?$/.exec(to)
  const [, bare = to, port, named = 'tcp'] = to.includes('::') && !to.startsWith('[') ? [undefined, to] : (match ?? [])
  const protocol = named === 'udp' || named === 'icmp' ? named : 'tcp'
  return {
    source: addressOf(snapshot, from),
    destination: addressOf(snapshot, bare.replace(/^\[|\]$/g, '')),
    protocol,
    ...(port === undefined ? {} : { port: Number(port) }),
  }
}

/** A task's first address, or the address itself. */
function addressOf(snapshot: ClusterSnapshot, text: string): Ip {
  for (const task of snapshot.tasks.values()) {
    if (task.id !== text && task.name !== text) continue
    const address = task.networks.find(({ name }) => name !== '')?.addresses[0]
    if (address !== undefined) return address
  }
  try {
    return parseIp(text)
  } catch (cause) {
    throw new AppError('ERR_CLI_USAGE', `"${text}" is neither an address nor a task on a network: weft task list`, {
      cause,
    })
  }
}

function viewOf({ verdict, reason }: Judgement): object {
  if (reason.kind !== 'policy') return { verdict, reason }
  return { verdict, reason: { kind: 'policy', policy: reason.policy.name } }
}

/** The reason in words. */
function formatReason({ reason }: Judgement): string {
  switch (reason.kind) {
    case 'policy': {
      const { name, action, from, to } = reason.policy
      return `policy ${name}: ${action} ${formatSelector(from)} to ${formatSelector(to)}`
    }
    case 'strict':
      return `network ${reason.network} is strict and no policy allows it`
    case 'other-network':
      return 'the ends are on two networks and no policy allows it'
    case 'same-network':
      return 'both ends are on one network'
    case 'node':
      return 'one end is a node'
    case 'outside':
      return 'one end is outside of all networks'
  }
}
