import { readFileSync } from 'node:fs'

/** Virtual networks of the sample: the web service is on the first, the client on both. */
export const sampleNetworks = ['dcos', 'lab'] as const

/** Where the sample's web service answers. */
export const sampleVip = { name: 'web.marathon.l4lb.thisdcos.directory', port: 80 } as const

/** Name that discovery gives the sample's web tasks. */
export const sampleTaskName = 'web.marathon.mesos'

function program(file: string): string {
  return readFileSync(new URL(file, import.meta.url), 'utf8')
}

/** The two services of the sample, as `POST /v2/apps` takes them. */
export function sampleApps(instances: number): readonly Record<string, unknown>[] {
  const small = { cpus: 0.1, mem: 32 }
  const web = {
    id: '/web',
    args: ['/usr/bin/perl', '-e', program('web.pl')],
    instances,
    ...small,
    networks: [{ mode: 'container', name: 'dcos' }],
    container: {
      portMappings: [{ containerPort: 8080, protocol: 'tcp', name: 'http', labels: { VIP_0: '/web:80' } }],
    },
    healthChecks: [
      {
        protocol: 'MESOS_HTTP',
        path: '/',
        portIndex: 0,
        gracePeriodSeconds: 10,
        intervalSeconds: 5,
        timeoutSeconds: 3,
      },
    ],
  }
  const client = {
    id: '/client',
    args: ['/usr/bin/perl', '-e', program('client.pl'), sampleVip.name, String(sampleVip.port)],
    instances: 1,
    ...small,
    networks: sampleNetworks.map((name) => ({ mode: 'container', name })),
  }
  return [web, client]
}
