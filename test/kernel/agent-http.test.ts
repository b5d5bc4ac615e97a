import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { openScriptedMaster } from '../support/agent-master.ts'
import { makeAgentBench, shellTask } from '../support/agent-process.ts'
import { canMakeHosts } from '../support/hosts.ts'

t.test('sandboxes, state and metrics over HTTP', { skip: canMakeHosts }, async (t) => {
  const bench = makeAgentBench()
  const master = await openScriptedMaster()
  t.teardown(async () => {
    await bench.remove()
    master.close()
  })
  bench.start(master.address)
  await master.until('registration', () => master.registrations.length > 0)
  const port = master.registrations[0]?.httpPort ?? 0
  t.ok(port > 0, 'the registration tells the port')
  const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`)
  const script =
    'printf "häs one\\ntwo\\n"; mkdir d; echo x > d/f; ln -s /etc/passwd out; ln -s d/f in; mkfifo pipe; touch ready; sleep 1000'
  const task = shellTask('served', script)
  master.launch(task)
  await master.status('served', 'TASK_RUNNING')
  const read = (query: string) => get(`/files/read?path=${query}`)
  for (let i = 0; i < 500 && (await read('/tasks/served/ready')).status !== 200; i++) await pause(20)

  const cases = [
    { path: '/tasks/served/stdout&offset=0', status: 200, body: { data: 'häs one\ntwo\n', offset: 0 } },
    { path: '/tasks/served/stdout&offset=5&length=3', status: 200, body: { data: 'one', offset: 5 } },
    { path: '/tasks/served/stdout&offset=0&length=2', status: 200, body: { data: 'h', offset: 0 } },
    { path: '/tasks/served/stdout', status: 200, body: { data: '', offset: 13 } },
    { path: '/tasks/served/stdout&offset=99', status: 200, body: { data: '', offset: 99 } },
    { path: '/x/slaves/S0/frameworks/F/executors/served/runs/latest/d/f&offset=0', status: 200, body: { data: 'x\n' } },
    { path: '/tasks/served/in&offset=0', status: 200, body: { data: 'x\n' } },
    { path: '/tasks/served/out&offset=0', status: 400 },
    { path: '/tasks/served/pipe&offset=0', status: 400 },
    { path: '/tasks/served/d&offset=0', status: 400 },
    { path: '/tasks/served/../../agent.json', status: 400 },
    { path: '/tasks/served/%00', status: 400 },
    { path: '/tasks/served/nothing', status: 404 },
    { path: '/tasks/nobody/stdout', status: 404 },
    { path: '/etc/passwd', status: 404 },
    { path: `${bench.stateDir}/sandboxes/../agent.json`, status: 400 },
    { path: '', status: 400 },
    { path: '/tasks/served/stdout&offset=x', status: 400 },
  ]
  for (const { path, status, body } of cases) {
    const answer = await read(path)
    t.equal(answer.status, status, `read ${path}`)
    if (body !== undefined) t.match(await answer.json(), body)
  }
  const names = (await (await get('/files/browse?path=/tasks/served')).json()) as { path: string; mode: string }[]
  t.match(
    names.map(({ path, mode }) => `${mode[0]} ${path.split('/').at(-1)}`),
    ['d d', 'l in', 'l out', 'p pipe', '- ready', '- stderr', '- stdout'],
  )
  const download = await get('/slave(1)/files/download?path=/tasks/served/stdout')
  t.equal(await download.text(), 'häs one\ntwo\n')
  t.match(download.headers.get('content-disposition'), /stdout/)
  t.equal(await (await get('/files/download?path=/tasks/served/stderr')).text(), '', 'an empty one')
  t.equal((await get('/nothing')).status, 404)
  t.equal((await fetch(`http://127.0.0.1:${port}/state`, { method: 'POST' })).status, 405)
  t.match(await (await get('/health')).json(), { healthy: true })
  const state = (await (await get('/state')).json()) as { frameworks: { executors: { directory: string }[] }[] }
  t.match(state, {
    id: 'master-S0',
    frameworks: [{ executors: [{ id: 'served', tasks: [{ state: 'TASK_RUNNING' }] }] }],
  })
  const directory = state.frameworks[0]?.executors[0]?.directory
  t.equal((await read(`${directory}/stdout`)).status, 200, 'the directory that /state tells')
  t.match(await (await get('/containers')).json(), [{ source: 'served', status: { executor_pid: Number } }])
  t.match(await (await get('/metrics')).text(), /agent_tasks\{state="TASK_RUNNING"\} 1/)
  t.match(await (await get('/metrics/snapshot')).json(), { 'agent/tasks/TASK_RUNNING': 1 })
  master.order({ kind: 'kill', taskId: task.taskId, graceMs: 1 })
  await master.status('served', 'TASK_KILLED')
  t.same(await bench.leftovers(), [])
  t.equal((await read('/tasks/served/stdout')).status, 200, 'a sandbox outlives its task')
})
