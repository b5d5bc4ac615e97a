import t from 'tap'
import { parseAgentId, parseFrameworkId, parseOfferId, parseTaskId } from '../../core/model/ids.ts'
import { type Reservation } from '../../core/model/reservation.ts'
import { noResources } from '../../core/model/resources.ts'
import { type OfferPool } from '../../core/scheduling/offers.ts'
import { type Claim, claimLabels } from '../../core/services/claim.ts'
import { openDraft } from '../../core/services/draft.ts'
import { parseAppId } from '../../core/services/ids.ts'
import { placeDemands } from '../../core/services/place.ts'
import { parseClaim } from '../../core/services/records.ts'
import { giveBack, tendClaims } from '../../core/services/turn-claims.ts'
import { makeWorld, writeOf } from '../../core/services/world.ts'
import { instance, record } from '../support/services-instances.ts'

const framework = parseFrameworkId('F-0000')
const fields = {
  ...{ cpus: 1, mem: 64, portDefinitions: [] },
  container: { volumes: [{ containerPath: 'data', persistent: { size: 10 } }] },
}

/** A claim of /shop/web on an agent. */
function claim(agent: string, state: Claim['state'] = 'kept'): Claim {
  const id = parseTaskId(`shop_web.00000000-0000-4000-8000-00000000000${agent.slice(1)}`)
  const reservation: Reservation = {
    ...{ role: 'slave_public', kind: 'dynamic', principal: '', labels: claimLabels(framework, id) },
    resources: { ...noResources, cpuMillis: 1_000, memMb: 64, diskMb: 10 },
    volumes: [{ id: `v.${agent}`, sizeMb: 10, containerPath: 'data' }],
  }
  const place = { hostname: agent, attributes: {} }
  return { id, appId: parseAppId('/shop/web'), agentId: parseAgentId(agent), place, reservation, state }
}

/** What an agent offers: room for two, and reservations. */
function pool(agent: string, ...reserved: readonly Reservation[]): OfferPool {
  const resources = { cpuMillis: 2_000, memMb: 128, diskMb: 20, ports: [] }
  const place = { hostname: agent, attributes: {} }
  const offerIds = [parseOfferId(agent)]
  return { agentId: parseAgentId(agent), role: 'slave_public', place, offerIds, resources, reserved }
}

t.test('where instances of a resident app go', async (t) => {
  const [one, two] = [claim('S1'), claim('S2')]
  const held = (agent: string) => pool(agent, claim(agent).reservation)
  const table: readonly (readonly [string, number, readonly Claim[], readonly OfferPool[], string, string])[] = [
    ['a first one anywhere', 1, [], [pool('S1')], 'S1 new', ''],
    ['two: beside each other when there is but one agent', 2, [], [pool('S1')], 'S1 new, S1 new', ''],
    ['a next one on its volume', 1, [two], [pool('S1'), held('S2')], 'S2 kept', ''],
    ['the volume is not offered', 1, [two], [pool('S1')], '', 'S1 NoCorrespondingReservationFound'],
    ['nor is all of it', 1, [two], [pool('S2')], '', 'S2 NoCorrespondingReservationFound'],
    ['one more than there are volumes', 2, [two], [pool('S1'), held('S2')], 'S2 kept, S1 new', ''],
    ['one waits, one is new', 2, [two], [pool('S1')], 'S1 new', 'S1 NoCorrespondingReservationFound'],
    ['fewer than there are volumes', 1, [one, two], [held('S1'), held('S2')], 'S1 kept', ''],
    ['volumes that are to go are not used', 1, [claim('S1', 'leaving')], [held('S1')], 'S1 new', ''],
  ]
  for (const [name, count, claims, pools, placed, rejected] of table) {
    const demand = { record: record(fields), count, instances: [], claims }
    const { placements, rejections } = placeDemands([demand], pools, 0)
    const told = placements.map((one) => `${one.pool.agentId} ${one.claim === 'new' ? 'new' : one.claim?.state}`)
    t.equal(told.join(', '), placed, name)
    const reasons = [...(rejections.get(demand.record.definition.id) ?? [])]
    t.equal(reasons.map((pair) => pair.join(' ')).join(', '), rejected, `${name}: reasons`)
  }
})

t.test('a claim is there when its first task has run, and ends as the app says', async (t) => {
  const relaunch = { taskLostBehavior: 'RELAUNCH_AFTER_TIMEOUT', relaunchEscalationTimeoutSeconds: 10 }
  const table: readonly (readonly [string, Claim['state'], string, object, number | undefined, string])[] = [
    ['the first task is on its way', 'new', 'staged-new', {}, undefined, 'new'],
    ['the first task runs', 'new', 'run-new', {}, undefined, 'kept'],
    ['the first task has ended', 'new', '', {}, undefined, 'gone'],
    ['it waits for ever', 'kept', '', {}, 0, 'kept'],
    ['it waits for 9 s', 'kept', '', { residency: relaunch }, 1_000, 'kept'],
    ['it waits for 10 s', 'kept', '', { residency: relaunch }, 0, 'leaving'],
    ['its task is out of reach', 'kept', 'lost-new', { residency: relaunch }, 0, 'kept'],
  ]
  for (const [name, state, word, more, waitingSinceMs, after] of table) {
    const world = makeWorld()
    const own = claim('S1', state)
    world.apply({ kind: 'claim.put', claim: own })
    if (word !== '') world.apply({ kind: 'instance.put', instance: { ...instance(word, 1), claim: own.id } })
    const draft = openDraft(world)
    tendClaims(draft, record({ ...fields, ...more }), { waitingSinceMs, nowMs: 10_000 })
    t.equal(draft.claimsOf(own.appId)[0]?.state ?? 'gone', after, name)
    for (const change of draft.changes()) world.apply(change)
    t.equal(world.leaving(), after === 'leaving' ? 1 : 0)
    t.equal(world.claimsOf(own.appId)[0]?.state ?? 'gone', after, 'and so it is kept')
  }
})

t.test('what is offered and nobody wants is given back', async (t) => {
  const known = claim('S1')
  const table: readonly (readonly [string, readonly Claim[], Reservation, string])[] = [
    ['one that is kept', [known], known.reservation, ''],
    ['one that is to go', [{ ...known, state: 'leaving' }], known.reservation, 'destroy unreserve'],
    ['one that an earlier leader forgot', [], known.reservation, 'destroy unreserve'],
    ['without its volumes', [], { ...known.reservation, volumes: [] }, 'unreserve'],
    ["another framework's", [], { ...known.reservation, labels: claimLabels(parseFrameworkId('G'), known.id) }, ''],
    ["an operator's", [], { ...known.reservation, labels: {} }, ''],
  ]
  for (const [name, claims, reservation, operations] of table) {
    const world = makeWorld()
    for (const one of claims) world.apply({ kind: 'claim.put', claim: one })
    const draft = openDraft(world)
    const told = giveBack(draft, pool('S1', reservation), framework).map(({ kind }) => kind)
    t.equal(told.join(' '), operations, name)
    const kept = draft.claimsOf(known.appId).length
    t.equal(kept, operations === '' ? claims.length : 0, `${name}: no claim is left of it`)
  }
  const { key, value = '' } = writeOf({ kind: 'claim.put', claim: known })
  t.same(parseClaim(key, value), known, 'a claim is read as it was written')
})
