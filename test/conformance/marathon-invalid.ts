import { invalid, noApp, small, type Step } from './marathon-step.ts'

const good = { ...small, id: '/x', cmd: 'x' }
const onNetwork = { ...good, networks: [{ mode: 'container', name: 'dcos' }] }
const mapped = (...portMappings: readonly unknown[]) => ({ ...onNetwork, container: { type: 'MESOS', portMappings } })

/** Every field wrong in turn: what is sent, and where the answer says that it is wrong. */
const wrong: readonly (readonly [unknown, string])[] = [
  [{ ...good, id: undefined }, '/id'],
  [{ ...good, id: '/UPPER' }, '/id'],
  [{ ...good, id: 17 }, '/id'],
  [{ ...good, cmd: undefined }, '/cmd'],
  [{ ...good, cmd: 7 }, '/cmd'],
  [{ ...good, args: ['a'] }, '/args'],
  [{ ...good, instances: -1 }, '/instances'],
  [{ ...good, instances: '1' }, '/instances'],
  [{ ...good, instances: 1e12 }, '/instances'],
  [{ ...good, cpus: -0.5 }, '/cpus'],
  [{ ...good, cpus: 'many' }, '/cpus'],
  [{ ...good, mem: -1 }, '/mem'],
  [{ ...good, mem: 1e15 }, '/mem'],
  [{ ...good, disk: -1 }, '/disk'],
  [{ ...good, env: 'A=B' }, '/env'],
  [{ ...good, env: { A: 1 } }, '/env(A)'],
  [{ ...good, env: { A: { secret: 'unknown' } } }, '/env(A)/secret'],
  [{ ...good, labels: { a: 1 } }, '/labels(a)'],
  [{ ...good, notAField: 1 }, '/notAField'],
  [{ ...good, user: 'not a user' }, '/user'],
  [{ ...good, upgradeStrategy: { minimumHealthCapacity: 1.5 } }, '/upgradeStrategy/minimumHealthCapacity'],
  [{ ...good, upgradeStrategy: { maximumOverCapacity: -1 } }, '/upgradeStrategy/maximumOverCapacity'],
  [{ ...good, backoffFactor: 0.5 }, '/backoffFactor'],
  [{ ...good, backoffSeconds: -1 }, '/backoffSeconds'],
  [{ ...good, maxLaunchDelaySeconds: -1 }, '/maxLaunchDelaySeconds'],
  [{ ...good, taskKillGracePeriodSeconds: -1 }, '/taskKillGracePeriodSeconds'],
  [{ ...good, killSelection: 'RANDOM' }, '/killSelection'],
  [{ ...good, unreachableStrategy: 'sometimes' }, '/unreachableStrategy'],
  [{ ...good, constraints: [['hostname', 'NEAR', 'x']] }, '/constraints(0)'],
  [{ ...good, constraints: [['hostname', 'MAX_PER', 'x']] }, '/constraints(0)'],
  [{ ...good, constraints: [['hostname', 'LIKE', '(']] }, '/constraints(0)'],
  [{ ...good, healthChecks: [{ protocol: 'ICMP' }] }, '/healthChecks(0)/protocol'],
  [{ ...good, healthChecks: [{ protocol: 'COMMAND' }] }, '/healthChecks(0)/command'],
  [{ ...good, healthChecks: [{ protocol: 'MESOS_HTTP', portIndex: 9 }] }, '/healthChecks(0)/portIndex'],
  [
    { ...good, healthChecks: [{ protocol: 'MESOS_HTTP', maxConsecutiveFailures: -1 }] },
    '/healthChecks(0)/maxConsecutiveFailures',
  ],
  [{ ...good, portDefinitions: [{ port: 65_536 }] }, '/portDefinitions(0)/port'],
  [
    {
      ...good,
      portDefinitions: [
        { port: 1, name: 'a' },
        { port: 2, name: 'a' },
      ],
    },
    '/portDefinitions(1)/name',
  ],
  [{ ...good, portDefinitions: [{ port: 1, protocol: 'sctp' }] }, '/portDefinitions(0)/protocol'],
  [{ ...good, ports: [80], portDefinitions: [{ port: 80 }] }, '/ports'],
  [{ ...good, networks: [{ mode: 'host' }, { mode: 'container', name: 'dcos' }] }, '/networks'],
  [{ ...good, networks: [{ mode: 'container', name: 'nowhere' }] }, '/networks(0)/name'],
  [{ ...onNetwork, portDefinitions: [{ port: 1 }] }, '/portDefinitions'],
  [mapped({ containerPort: -1 }), '/container/portMappings(0)/containerPort'],
  [mapped({ containerPort: 80, hostPort: 70_000 }), '/container/portMappings(0)/hostPort'],
  [mapped({ containerPort: 80 }, { containerPort: 80 }), '/container/portMappings(1)/containerPort'],
  [mapped({ containerPort: 80, labels: { VIP_0: 'no port' } }), '/container/portMappings(0)/labels(VIP_0)'],
  [{ ...good, acceptedResourceRoles: [] }, '/acceptedResourceRoles'],
  [{ ...good, gpus: 1 }, '/gpus'],
  [[], '/'],
]

/** None of them changes anything. */
export const refused: readonly Step[] = [
  ...wrong.map(
    ([body, path]): Step => ({ method: 'POST', path: '/v2/apps', body, status: 422, expect: invalid(path) }),
  ),
  { method: 'GET', path: '/v2/apps/x', status: 404, expect: noApp('/x') },
]
