import t from 'tap'
import { encodeRecord } from '../../core/api/mesos/record-io.ts'
import { type MesosFramework, post, RecordReader, subscribeMesos } from '../support/mesos-framework-client.ts'
import { startMesosMaster } from '../support/mesos-master.ts'
import { startFramework, until } from '../support/master.ts'

const json = { 'Content-Type': 'application/json' }

interface Case {
  readonly name: string
  readonly body: string | ((framework: MesosFramework) => object)
  readonly headers?: (framework: MesosFramework) => Record<string, string>
  readonly method?: string
  readonly status: number
  readonly text: RegExp
}

const own = (framework: MesosFramework) => ({ ...json, 'Mesos-Stream-Id': framework.streamId })
const call =
  (type: string, more: object = {}) =>
  (framework: MesosFramework) => ({
    type,
    framework_id: { value: framework.id() },
    ...more,
  })
const info = { user: 'root', name: 'x' }

/** Source of the texts: mesos, src/master/http.cpp and src/master/validation.cpp. */
const cases: readonly Case[] = [
  { name: 'GET', method: 'GET', body: '', status: 405, text: /Expecting one of \{ 'POST' \}, but received 'GET'/ },
  { name: 'PUT', method: 'PUT', body: '{}', status: 405, text: /received 'PUT'/ },
  { name: 'no type', body: '{}', headers: () => ({}), status: 400, text: /^Expecting 'Content-Type' to be present$/ },
  {
    name: 'text',
    body: '{}',
    headers: () => ({ 'Content-Type': 'text/plain' }),
    status: 415,
    text: /application\/json/,
  },
  {
    name: 'protobuf',
    body: '{}',
    headers: () => ({ 'Content-Type': 'application/x-protobuf' }),
    status: 415,
    text: /JSON only/,
  },
  {
    name: 'recordio',
    body: '2\n{}',
    headers: () => ({ 'Content-Type': 'application/recordio' }),
    status: 415,
    text: /Content-Type/,
  },
  { name: 'empty body', body: '', status: 400, text: /^Failed to parse body into JSON: / },
  { name: 'cut JSON', body: '{"type":', status: 400, text: /^Failed to parse body into JSON: / },
  { name: 'RecordIO as JSON', body: '2\n{}', status: 400, text: /^Failed to parse body into JSON: / },
  { name: 'a list', body: '[]', status: 400, text: /^Failed to convert JSON into Call protobuf: body: / },
  { name: 'deep', body: '['.repeat(5_000) + ']'.repeat(5_000), status: 400, text: /nested more than 100 deep/ },
  { name: 'a number as type', body: '{"type":3}', status: 400, text: /into Call protobuf: type: / },
  {
    name: 'no call type',
    body: '{}',
    status: 400,
    text: /^Failed to validate scheduler::Call: Expecting 'type' to be/,
  },
  { name: 'null type', body: '{"type":null}', status: 400, text: /Expecting 'type' to be present$/ },
  { name: 'unknown call', body: '{"type":"DANCE"}', status: 400, text: /Failed to find enum for 'DANCE'/ },
  {
    name: 'SUBSCRIBE without it',
    body: '{"type":"SUBSCRIBE"}',
    status: 400,
    text: /Expecting 'subscribe' to be present/,
  },
  {
    name: 'SUBSCRIBE without a user',
    body: () => ({ type: 'SUBSCRIBE', subscribe: { framework_info: { name: 'x' } } }),
    status: 400,
    text: /subscribe\.framework_info\.user: /,
  },
  {
    name: 'SUBSCRIBE with two ids',
    body: () => ({ type: 'SUBSCRIBE', framework_id: { value: 'a' }, subscribe: { framework_info: info } }),
    status: 400,
    text: /'framework_id' differs from 'subscribe.framework_info.id'/,
  },
  {
    name: 'SUBSCRIBE with a stream id',
    body: () => ({ type: 'SUBSCRIBE', subscribe: { framework_info: info } }),
    headers: own,
    status: 400,
    text: /^Subscribe calls should not include the 'Mesos-Stream-Id' header$/,
  },
  {
    name: 'SUBSCRIBE that takes protobuf only',
    body: () => ({ type: 'SUBSCRIBE', subscribe: { framework_info: info } }),
    headers: () => ({ ...json, Accept: 'application/x-protobuf' }),
    status: 406,
    text: /^Expecting 'Accept' to allow 'application\/json'$/,
  },
  { name: 'no framework id', body: '{"type":"REVIVE"}', status: 400, text: /Expecting 'framework_id' to be present/ },
  {
    name: 'nobody',
    body: () => ({ type: 'REVIVE', framework_id: { value: 'nobody' } }),
    status: 400,
    text: /^Framework cannot be found$/,
  },
  {
    name: 'no stream id',
    body: call('REVIVE'),
    headers: () => json,
    status: 400,
    text: /^All non-subscribe calls should/,
  },
  {
    name: 'stale stream id',
    body: call('REVIVE'),
    headers: () => ({ ...json, 'Mesos-Stream-Id': 'old' }),
    status: 400,
    text: /^The stream ID 'old' included in this request didn't match .* framework ID /,
  },
  {
    name: 'ACCEPT without it',
    body: call('ACCEPT'),
    headers: own,
    status: 400,
    text: /Expecting 'accept' to be present/,
  },
  {
    name: 'a wrong type deep inside',
    body: call('ACCEPT', {
      accept: { offer_ids: [], operations: [{ type: 'LAUNCH', launch: { task_infos: [{ name: 'x', task_id: {} }] } }] },
    }),
    headers: own,
    status: 400,
    text: /accept\.operations\[0\]\.launch\.task_infos\[0\]\.task_id\.value: /,
  },
  {
    name: 'an operation that nobody knows',
    body: call('ACCEPT', { accept: { offer_ids: [], operations: [{ type: 'GROW_VOLUME' }] } }),
    headers: own,
    status: 400,
    text: /accept\.operations\[0\]\.type: the operation "GROW_VOLUME" is not supported/,
  },
  {
    name: 'a short uuid',
    body: call('ACKNOWLEDGE', { acknowledge: { agent_id: { value: 'a' }, task_id: { value: 't' }, uuid: 'AAAA' } }),
    headers: own,
    status: 400,
    text: /uuid/,
  },
  {
    name: 'UPDATE_FRAMEWORK of another user',
    body: (framework) => ({
      type: 'UPDATE_FRAMEWORK',
      framework_id: { value: framework.id() },
      update_framework: { framework_info: { user: 'eve', name: 'x', id: { value: framework.id() } } },
    }),
    headers: own,
    status: 400,
    text: /^Updating 'FrameworkInfo.user' is unsupported$/,
  },
  {
    name: 'RECONCILE_OPERATIONS',
    body: call('RECONCILE_OPERATIONS', { reconcile_operations: {} }),
    headers: own,
    status: 501,
    text: /not supported/,
  },
  { name: 'oversized', body: ' '.repeat(1_100_000), status: 413, text: /./ },
  // What is answered with 202 and nothing.
  { name: 'REQUEST', body: call('REQUEST', { request: { requests: [] } }), headers: own, status: 202, text: /^$/ },
  { name: 'REVIVE', body: call('REVIVE'), headers: own, status: 202, text: /^$/ },
  {
    name: 'REVIVE with nulls',
    body: call('REVIVE', { revive: null, accept: null }),
    headers: own,
    status: 202,
    text: /^$/,
  },
  { name: 'SUPPRESS', body: call('SUPPRESS', { suppress: { role: '*' } }), headers: own, status: 202, text: /^$/ },
  { name: 'RECONCILE', body: call('RECONCILE', { reconcile: { tasks: [] } }), headers: own, status: 202, text: /^$/ },
  {
    name: 'DECLINE of nothing',
    body: call('DECLINE', { decline: { offer_ids: [{ value: 'x-O1' }], filters: null } }),
    headers: (framework) => ({
      'Content-Type': 'application/json; charset=utf-8',
      'Mesos-Stream-Id': framework.streamId,
    }),
    status: 202,
    text: /^$/,
  },
  {
    name: 'inverse offers',
    body: call('DECLINE_INVERSE_OFFERS', { decline_inverse_offers: { inverse_offer_ids: [] } }),
    headers: own,
    status: 202,
    text: /^$/,
  },
  {
    name: 'MESSAGE',
    body: call('MESSAGE', { message: { agent_id: { value: 'a' }, executor_id: { value: 'e' }, data: 'aGk=' } }),
    headers: own,
    status: 202,
    text: /^$/,
  },
  {
    name: 'UPDATE_FRAMEWORK',
    body: (framework) => ({
      type: 'UPDATE_FRAMEWORK',
      framework_id: { value: framework.id() },
      update_framework: { framework_info: { user: 'root', name: 'y', id: { value: framework.id() } } },
    }),
    headers: own,
    status: 200,
    text: /^$/,
  },
]

t.test('requests and their answers', async (t) => {
  const master = await startMesosMaster()
  t.teardown(() => master.stop())
  const framework = await subscribeMesos(master.url)
  await framework.wait('SUBSCRIBED')
  for (const { name, body, headers = () => json, method = 'POST', status, text } of cases) {
    const given = typeof body === 'string' ? body : JSON.stringify(body(framework))
    const answer = await post(master.url, given, { headers: headers(framework), method })
    t.equal(answer.status, status, `${name}: ${answer.text}`)
    t.match(answer.text, text, name)
    if (status === 405) t.equal(answer.headers.allow, 'POST')
  }
  t.notOk(framework.ended(), 'the subscriber never noticed')
})

t.test('a subscription', async (t) => {
  const master = await startMesosMaster()
  t.teardown(() => master.stop())
  const framework = await subscribeMesos(master.url, { name: 'främe', labels: null, role: null })
  const { framework_id: id, ...subscribed } = await framework.wait('SUBSCRIBED')
  t.match(id.value, /-0000$/)
  t.match(subscribed, {
    heartbeat_interval_seconds: 15,
    master_info: { id: /^0{8}-/, hostname: 'master1', ip: 16_777_343, port: 5050, version: '1.2.3' },
  })
  t.match(framework.headers, { 'content-type': 'application/json', 'transfer-encoding': 'chunked' })

  t.test('the newest wins', async (t) => {
    const second = await subscribeMesos(master.url, { id })
    await second.wait('SUBSCRIBED')
    t.match(await framework.wait('ERROR'), { message: 'Framework failed over' })
    await until(() => framework.ended(), 'the end of the first')
    t.equal((await framework.call('REVIVE')).status, 400, 'its stream id counts no more')
    t.equal((await second.call('REVIVE')).status, 202)
    second.cut()
    const entry = [...master.context.frameworks.values()].find((one) => one.id === id.value)
    await until(() => entry?.state === 'disconnected', 'its disconnection')
    t.equal((await second.call('REVIVE')).status, 403)
  })

  t.test('teardown', async (t) => {
    const third = await subscribeMesos(master.url, { id })
    await third.wait('SUBSCRIBED')
    t.same(await third.call('TEARDOWN').then(({ status, text }) => ({ status, text })), { status: 202, text: '' })
    await until(() => third.ended(), 'its end')
    t.notOk(third.events.some(({ type }) => type === 'ERROR'))
    t.equal((await third.call('REVIVE')).status, 400)
    const fourth = await subscribeMesos(master.url, { id })
    t.match(await fourth.wait('ERROR'), { message: 'Framework has been removed' })
    await until(() => fourth.ended(), 'the end of who came back')
  })

  t.test('what can not be let in', async (t) => {
    const multi = { capabilities: [{ type: 'MULTI_ROLE' }] }
    const refused: readonly (readonly [object, object, RegExp])[] = [
      [{ roles: ['a'] }, {}, /not MULTI_ROLE/],
      [{ ...multi, role: 'a' }, {}, /MULTI_ROLE/],
      [{ ...multi, roles: ['a', 'a'] }, {}, /duplicate/],
      [{ ...multi, roles: ['a'] }, { suppressed_roles: ['b'] }, /Suppressed role 'b'/],
      [{ role: 'a//b' }, {}, /role/i],
      [{ role: '-a' }, {}, /dash|begin/],
      [{ failover_timeout: -1 }, {}, /failover_timeout/],
    ]
    for (const [more, subscribe, text] of refused) {
      const one = await subscribeMesos(master.url, more, subscribe)
      t.match(await one.wait('ERROR'), { message: text })
      await until(() => one.ended(), 'the end')
    }
  })
})

t.test('an in-process framework has no HTTP calls', async (t) => {
  const master = await startMesosMaster()
  t.teardown(() => master.stop())
  const framework = startFramework(master)
  await until(() => framework.id() !== undefined, 'its id')
  const body = JSON.stringify({ type: 'REVIVE', framework_id: { value: framework.id() } })
  t.match(await post(master.url, body), { status: 403, text: 'Framework is not connected via HTTP' })
})

t.test('a subscriber that does not read is dropped', async (t) => {
  const master = await startMesosMaster({ maxQueuedBytes: 100_000 })
  t.teardown(() => master.stop())
  const framework = await subscribeMesos(master.url)
  await framework.wait('SUBSCRIBED')
  framework.pause()
  const entry = [...master.context.frameworks.values()][0]
  let sent = 0
  while (entry?.state === 'connected' && sent++ < 2_000) {
    entry.deliver?.({ kind: 'error', message: 'x'.repeat(20_000) })
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.equal(entry?.state, 'disconnected')
  t.ok(sent < 2_000, `after ${sent} records of 20 kB`)
})

t.test('records count octets as characters', (t) => {
  const record = encodeRecord({ a: 'ü\n\u2028😀' })
  t.equal(
    record.toString('latin1'),
    '40\n{"a":"\\u00fc\\n\\u2028\\ud83d\\ude00"}'.replace(/^40/, String(record.length - 3)),
  )
  const reader = new RecordReader()
  t.same(
    [...record, ...record].flatMap((octet) => reader.push(Buffer.from([octet]))),
    [{ a: 'ü\n\u2028😀' }, { a: 'ü\n\u2028😀' }],
    'and read octet by octet',
  )
  t.throws(() => reader.push(Buffer.from('x\n')))
  t.end()
})
