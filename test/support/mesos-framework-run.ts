/**
 * npm's mesos-framework against a master, as a process of its own: its arguments are host, port and a directory for its log.
 * It runs one task, sees it run, kills it, sees that, tears itself down; each step is a line of JSON on standard output.
 */
import { createRequire } from 'node:module'

interface Status {
  readonly state: string
  readonly task_id: { readonly value: string }
  readonly agent_id: { readonly value: string }
}

/** As much of its Scheduler as is used here; the package has no types. */
interface NpmScheduler {
  on(event: string, listener: (body: never) => void): void
  subscribe(): void
  acknowledge(update: { readonly status: Status }): void
  kill(taskId: string, agentId: string): void
  reconcile(taskId: string, agentId: string): void
  teardown(): void
}

const { Scheduler, Mesos } = createRequire(import.meta.url)('mesos-framework')
const [masterUrl, port, logs] = process.argv.slice(2)
const tell = (event: string, more: object = {}) => process.stdout.write(`${JSON.stringify({ event, ...more })}\n`)
const Builder = Mesos.getMesos()

const scheduler: NpmScheduler = new Scheduler({
  masterUrl,
  port,
  frameworkName: 'npm-client',
  masterConnectionTimeout: 60,
  logging: { path: logs, fileName: 'framework.log', level: 'error' },
  tasks: {
    sleeper: {
      priority: 1,
      instances: 1,
      commandInfo: new Builder.CommandInfo(null, null, true, 'sleep 1000', null),
      resources: { cpus: 0.1, mem: 32, ports: 1, disk: 0 },
    },
  },
  handlers: {},
})
scheduler.on('ready', () => scheduler.subscribe())
for (const name of ['subscribed', 'sent_accept', 'sent_acknowledge', 'sent_kill', 'sent_teardown']) {
  scheduler.on(name, () => tell(name))
}
let killed = false
scheduler.on('update', ({ status }: { readonly status: Status }) => {
  tell('update', { state: status.state })
  if (status.state === 'TASK_RUNNING' && !killed) {
    killed = true
    scheduler.kill(status.task_id.value, status.agent_id.value)
  }
  if (status.state === 'TASK_KILLED') scheduler.teardown()
})
scheduler.on('error', (error: { readonly message?: string }) => tell('error', { message: error.message ?? error }))
