import { dnsClass, rcode } from '../dns/constants.ts'
import { labelsOf, type Name, nameKey, parseName } from '../dns/name.ts'
import { formatRcode, formatRecord, formatType, parseType } from '../dns/presentation.ts'
import { renameQuestion } from '../records/renames.ts'
import { lookup } from '../server/lookup.ts'
import { type NamesView } from '../stage.ts'
import { type ThreadCounters } from '../worker/stats.ts'
import { jsonReply, type Route } from './reply.ts'

/** What `weft dns` asks. */
export interface WeftApi {
  readonly view: NamesView
  readonly counters: () => ThreadCounters
}

/** `/weft/v1/dns/stats`, `/weft/v1/dns/trace?name=NAME&type=TYPE`. */
export function weftDnsRoute(api: WeftApi): Route {
  return ({ path, query }) => {
    const [, , , what] = path
    if (path.length !== 4 || path.slice(0, 3).join('/') !== 'weft/v1/dns') return undefined
    if (what === 'stats') return jsonReply(stats(api))
    if (what !== 'trace') return undefined
    return jsonReply(trace(api.view, { name: parseName(query.get('name') ?? ''), type: query.get('type') ?? 'A' }))
  }
}

function stats({ view, counters }: WeftApi) {
  const { zones } = view
  let names = 0
  let records = 0
  for (const [, rrsets] of zones.owners()) {
    names++
    for (const { data } of rrsets) records += data.length
  }
  return { node: view.self, serial: zones.serial(), names, records, ...counters(), collisions: view.collisions() }
}

/** How the server comes to its answer: older name, zone, records, and who brought each of them. */
function trace(view: NamesView, { name, type }: { readonly name: Name; readonly type: string }) {
  const { zones } = view
  const code = parseType(type)
  const question = { name, type: formatType(code) }
  const renamed = renameQuestion(zones.renames ?? [], name)
  const present = renamed?.name ?? name
  const known = renamed === undefined ? {} : { renamedTo: renamed.name }
  const found = lookup(zones, { name, type: code, class: dnsClass.IN }, 0)
  const zone = zones.zoneOf(nameKey(present))
  if (found === undefined || zone === undefined) return { question, ...known, outcome: 'forwarded', sources: [] }
  const owners = new Set([present, ...found.answers.map((record) => record.name)])
  return {
    question,
    ...known,
    zone: { apex: zone.apex, state: zone.state, serial: zones.serial() },
    outcome: found.answers.length > 0 ? 'answered' : found.code === 0 ? 'no data' : 'no answer',
    rcode: formatRcode(found.code),
    answers: found.answers.map(formatRecord),
    additionals: found.additionals.map(formatRecord),
    sources: [...owners]
      .map((owner) => ({ name: owner, from: view.contributors(owner) }))
      .filter(({ from }) => from.length > 0),
    ...(found.code === rcode.NXDOMAIN ? { hints: hints(view, present) } : {}),
  }
}

/** Tasks that would have the name, and why they have not. */
function hints(view: NamesView, name: Name): readonly string[] {
  const [first = ''] = labelsOf(name)
  const tasks = [...view.cluster().tasks.values()].filter((task) => {
    return (task.discovery?.name ?? task.name).toLowerCase().startsWith(first.toLowerCase().replace(/^_/, ''))
  })
  return tasks.slice(0, 10).map(({ id, state, health, node }) => `task ${id} on ${node}: ${state}, ${health}`)
}
