import t from 'tap'
import { type AppDefinition } from '../../core/services/app.ts'
import { type CheckContext } from '../../core/services/check.ts'
import { appIdOfTask, parseAppId, taskIdOf, taskNameOf } from '../../core/services/ids.ts'
import { mergeUpdate, parseApp } from '../../core/services/parse-app.ts'
import { problemsOf } from '../../core/services/problem.ts'
import { makeVipIndex, vipUses } from '../../core/services/vip-use.ts'

const others = makeVipIndex()
const spec = { kind: 'named', name: 'dns', port: 53 } as const
others.set(parseAppId('/dns'), [{ vip: 'dns:53', protocols: ['udp'], scheduler: 'wlc', path: '', spec }])

const context: CheckContext = {
  networkNames: new Set(['dcos', 'lab']),
  vipConflict: (app, use) => others.conflict(app, use),
  pathConflict: (app) => (app === '/shop' ? parseAppId('/shop/web') : undefined),
}

const base = { id: '/a', cmd: 'sleep 1' }
const onDcos = { networks: [{ mode: 'container', name: 'dcos' }] }
const onBoth = { networks: [{ name: 'dcos' }, { name: 'lab' }] }
const mapped = (...portMappings: readonly unknown[]) => ({ ...onDcos, container: { portMappings } })
const vip = (label: string, more: object = {}) => ({ containerPort: 80, labels: { VIP_0: label }, ...more })
const defined = (...portDefinitions: readonly unknown[]) => ({ portDefinitions })
const checked = (...healthChecks: readonly unknown[]) => ({ healthChecks })

/** What is laid over a good app, and the paths of all problems that it makes. */
const bad: readonly (readonly [string, object, readonly string[]])[] = [
  ['no id', { id: undefined }, ['/id']],
  ['an id of another type', { id: 7 }, ['/id']],
  ['an empty id', { id: '' }, ['/id']],
  ['only a slash', { id: '/' }, ['/id']],
  ['upper case', { id: '/Web' }, ['/id']],
  ['underscore', { id: '/my_app' }, ['/id']],
  ['an empty segment', { id: '/a//b' }, ['/id']],
  ['a leading dash', { id: '/-a' }, ['/id']],
  ['a trailing slash', { id: '/a/' }, ['/id']],
  ['a dot segment', { id: '/a/../b' }, ['/id']],
  ['unicode', { id: '/bücher' }, ['/id']],
  ['a reserved end', { id: '/a/tasks' }, ['/id']],
  ['an id of 300 characters', { id: `/${'a'.repeat(300)}` }, ['/id']],
  ['a group of that name', { id: '/shop' }, ['/id']],
  ['nothing to run', { cmd: undefined }, ['/cmd']],
  ['an empty cmd', { cmd: '' }, ['/cmd']],
  ['NUL in cmd', { cmd: 'a\0b' }, ['/cmd']],
  ['a cmd longer than the kernel takes', { cmd: 'x'.repeat(131_072) }, ['/cmd']],
  ['cmd and args', { args: ['a'] }, ['/args']],
  ['empty args', { cmd: undefined, args: [] }, ['/args']],
  ['a number in args', { cmd: undefined, args: ['a', 1] }, ['/args(1)']],
  ['a bad user', { user: 'a b' }, ['/user']],
  ['instances below 0', { instances: -1 }, ['/instances']],
  ['half an instance', { instances: 1.5 }, ['/instances']],
  ['instances as text', { instances: '3' }, ['/instances']],
  ['a million instances', { instances: 1_000_000 }, ['/instances']],
  ['no cpus', { cpus: 0 }, ['/cpus']],
  ['cpus below 0', { cpus: -1 }, ['/cpus']],
  ['cpus as text', { cpus: '1' }, ['/cpus']],
  ['absurd cpus', { cpus: 1e9 }, ['/cpus']],
  ['no memory', { mem: 0 }, ['/mem']],
  ['absurd memory', { mem: 1e12 }, ['/mem']],
  ['disk below 0', { disk: -1 }, ['/disk']],
  ['env as list', { env: [] }, ['/env']],
  ['a secret that is not defined', { env: { A: { secret: 'x' } } }, ['/env(A)/secret']],
  ['a secret of another shape', { env: { A: { secrets: 'x' } } }, ['/env(A)']],
  ['a secret without source', { secrets: { a: {} } }, ['/secrets/a/source']],
  ['a source that leads out', { secrets: { a: { source: '../a' } } }, ['/secrets/a/source']],
  ['a source of dots', { secrets: { a: { source: '/a/../b' } } }, ['/secrets/a/source']],
  ['"=" in a name of env', { env: { 'A=B': 'x' } }, ['/env(A=B)']],
  ['NUL in env', { env: { A: '\0' } }, ['/env(A)']],
  ['a number as label', { labels: { a: 1 } }, ['/labels(a)']],
  ['a VIP as label of an app without ports', { labels: { VIP_PORT0: 'tcp://1.2.3.4:5' } }, ['/labels(VIP_PORT0)']],
  ['an unknown field', { instance: 3 }, ['/instance']],
  ['a field named as a method', { constructor: 1 }, ['/constructor']],
  ['an unknown field in a network', { networks: [{ name: 'dcos', nam: 1 }] }, ['/networks(0)/nam']],
  ['fetch of what is no URI', { fetch: [{ uri: 'x' }] }, ['/fetch(0)/uri']],
  ['fetch out of the sandbox', { fetch: [{ uri: '/a', destPath: '../a' }] }, ['/fetch(0)/destPath']],
  ['dependencies', { dependencies: [7] }, ['/dependencies(0)']],
  ['readiness checks', { readinessChecks: [{}] }, ['/readinessChecks']],
  ['an unknown unreachable strategy', { unreachableStrategy: 'never' }, ['/unreachableStrategy']],
  [
    'an unreachable strategy below 0',
    { unreachableStrategy: { inactiveAfterSeconds: -1 } },
    ['/unreachableStrategy/inactiveAfterSeconds'],
  ],
  [
    'forgotten before replaced',
    { unreachableStrategy: { inactiveAfterSeconds: 60, expungeAfterSeconds: 30 } },
    ['/unreachableStrategy/expungeAfterSeconds'],
  ],
  ['ports of old of the wrong type', { ports: [80, 'x', 65_536] }, ['/ports(1)', '/ports(2)']],
  ['ports, old and new', { ports: [80], portDefinitions: [] }, ['/ports']],
  ['ports as text', { ports: '80' }, ['/ports']],
  ['ipAddress of old without network', { ipAddress: {} }, ['/ipAddress/networkName', '/networks(0)/name']],
  ['ipAddress and networks', { ...onDcos, ipAddress: { networkName: 'dcos' } }, ['/ipAddress']],
  ['groups of addresses', { ipAddress: { networkName: 'dcos', groups: ['a'] } }, ['/ipAddress/groups']],
  ['an unknown field in ipAddress', { ipAddress: { networkName: 'dcos', x: 1 } }, ['/ipAddress/x']],
  ['gpus', { gpus: 1 }, ['/gpus']],
  ['an option as image', { container: { docker: { image: '-x' } } }, ['/container/docker/image']],
  ['no image', { container: { docker: {} } }, ['/container/docker/image']],
  [
    'parameters for Docker',
    { container: { docker: { image: 'x', parameters: [{}] } } },
    ['/container/docker/parameters'],
  ],
  [
    'privilege in an own container',
    { container: { docker: { image: 'x', privileged: true } } },
    ['/container/docker/privileged'],
  ],
  ['the docker type alone', { container: { type: 'DOCKER' } }, ['/container/docker']],
  ['an empty volume', { container: { volumes: [{}] } }, ['/container/volumes(0)']],
  [
    'a volume out of the sandbox',
    { container: { volumes: [{ containerPath: '../a', hostPath: '/a' }] } },
    ['/container/volumes(0)/containerPath'],
  ],
  [
    'a volume of an unknown secret',
    { container: { volumes: [{ containerPath: 'a', secret: 'x' }] } },
    ['/container/volumes(0)/secret'],
  ],
  ['residency without volumes', { residency: {} }, ['/residency']],
  [
    'a volume of no size',
    { container: { volumes: [{ containerPath: 'a', persistent: { size: 0 } }] } },
    ['/container/volumes(0)/persistent/size'],
  ],
  ['a volume in role *', { container: { volumes: [{ containerPath: 'a', persistent: { size: 1 } }] } }, ['/residency']],
  [
    'a doubled volume',
    {
      container: { volumes: [{ containerPath: 'a', persistent: { size: 1 } }] },
      upgradeStrategy: { maximumOverCapacity: 1 },
    },
    ['/residency', '/upgradeStrategy/maximumOverCapacity'],
  ],
  ['a role', { acceptedResourceRoles: ['slave_public'] }, ['/acceptedResourceRoles(0)']],
  ['two roles', { acceptedResourceRoles: ['*', '*'] }, ['/acceptedResourceRoles']],
  ['no role', { acceptedResourceRoles: [] }, ['/acceptedResourceRoles']],
  ['networks as object', { networks: {} }, ['/networks']],
  ['an unknown network', { networks: [{ name: 'nowhere' }] }, ['/networks(0)/name']],
  ['a network without name', { networks: [{ mode: 'container' }] }, ['/networks(0)/name']],
  ['an unknown mode', { networks: [{ mode: 'bridge' }] }, ['/networks(0)/mode']],
  ['the bridge mode', { networks: [{ mode: 'container/bridge' }] }, ['/networks(0)/mode']],
  ['mixed modes', { networks: [{ mode: 'host' }, { name: 'dcos' }] }, ['/networks']],
  ['host twice', { networks: [{ mode: 'host' }, { mode: 'host' }] }, ['/networks']],
  ['a name for host', { networks: [{ mode: 'host', name: 'dcos' }] }, ['/networks(0)/name']],
  ['a network twice', { networks: [{ name: 'dcos' }, { name: 'dcos' }] }, ['/networks(1)/name']],
  ['mappings on host', { container: { portMappings: [{ containerPort: 1 }] } }, ['/container/portMappings']],
  ['definitions on a network', { ...onDcos, ...defined({ port: 0 }) }, ['/portDefinitions']],
  ['requirePorts on a network', { ...onDcos, requirePorts: true }, ['/requirePorts']],
  ['port 65536', mapped({ containerPort: 65_536 }), ['/container/portMappings(0)/containerPort']],
  ['a port below 0', mapped({ containerPort: 1 }, { containerPort: -1 }), ['/container/portMappings(1)/containerPort']],
  ['host port 65536', mapped({ containerPort: 1, hostPort: 65_536 }), ['/container/portMappings(0)/hostPort']],
  ['0 without host port', mapped({ containerPort: 0 }), ['/container/portMappings(0)/containerPort']],
  ['sctp', mapped({ containerPort: 1, protocol: 'sctp' }), ['/container/portMappings(0)/protocol']],
  ['a bad port name', mapped({ containerPort: 1, name: 'No' }), ['/container/portMappings(0)/name']],
  [
    'a port name twice',
    mapped(vip('/a:1', { name: 'x' }), { containerPort: 2, name: 'x' }),
    ['/container/portMappings(1)/name'],
  ],
  [
    'a container port twice',
    mapped({ containerPort: 1 }, { containerPort: 1, protocol: 'udp,tcp' }),
    ['/container/portMappings(1)/containerPort'],
  ],
  [
    'a host port twice',
    mapped({ containerPort: 1, hostPort: 9 }, { containerPort: 2, hostPort: 9 }),
    ['/container/portMappings(1)/hostPort'],
  ],
  ['a required port twice', { requirePorts: true, ...defined({ port: 9 }, { port: 9 }) }, ['/portDefinitions(1)/port']],
  [
    'a foreign network',
    mapped({ containerPort: 1, networkNames: ['lab'] }),
    ['/container/portMappings(0)/networkNames(0)'],
  ],
  [
    'a host port into two networks',
    { ...onBoth, container: { portMappings: [{ containerPort: 1, hostPort: 0 }] } },
    ['/container/portMappings(0)/networkNames'],
  ],
  ['a VIP without port', mapped(vip('/web')), ['/container/portMappings(0)/labels(VIP_0)']],
  ['a VIP with port 0', mapped(vip('/web:0')), ['/container/portMappings(0)/labels(VIP_0)']],
  ['a VIP with port 65536', mapped(vip('/web:65536')), ['/container/portMappings(0)/labels(VIP_0)']],
  ['a VIP without name', mapped(vip('/:80')), ['/container/portMappings(0)/labels(VIP_0)']],
  ['a VIP of 64 characters', mapped(vip(`/${'a'.repeat(64)}:80`)), ['/container/portMappings(0)/labels(VIP_0)']],
  ['a VIP with unicode', mapped(vip('/bücher:80')), ['/container/portMappings(0)/labels(VIP_0)']],
  ['a VIP on a host port', defined({ port: 0, labels: { vip_1: 'x' } }), ['/portDefinitions(0)/labels(vip_1)']],
  [
    'a VIP with two protocols',
    mapped(vip('/w:80'), { containerPort: 81, protocol: 'udp', labels: { VIP_1: 'w:80' } }),
    ['/container/portMappings(1)/labels(VIP_1)'],
  ],
  [
    'an unknown scheduler',
    mapped(vip('/w:80', { labels: { VIP_0: '/w:80', 'lb-scheduler': 'nq' } })),
    ['/container/portMappings(0)/labels(lb-scheduler)'],
  ],
  [
    'a weight of 0',
    mapped(vip('/w:80', { labels: { VIP_0: '/w:80', 'lb-weight': '0' } })),
    ['/container/portMappings(0)/labels(lb-weight)'],
  ],
  [
    "another app's VIP with another scheduler",
    mapped(vip('/dns:53', { protocol: 'udp', labels: { VIP_0: '/dns:53', 'lb-scheduler': 'rr' } })),
    ['/container/portMappings(0)/labels(VIP_0)'],
  ],
  ["another app's VIP with another protocol", mapped(vip('/dns:53')), ['/container/portMappings(0)/labels(VIP_0)']],
  ['two health checks', checked({ port: 1 }, { port: 2 }), ['/healthChecks(1)']],
  ['an unknown check', checked({ protocol: 'ICMP' }), ['/healthChecks(0)/protocol']],
  ['a command check without command', checked({ protocol: 'COMMAND' }), ['/healthChecks(0)/command']],
  ['a command for HTTP', checked({ port: 1, command: { value: 'x' } }), ['/healthChecks(0)/command']],
  ['a path for TCP', checked({ protocol: 'MESOS_TCP', path: '/', port: 1 }), ['/healthChecks(0)/path']],
  ['a relative path', checked({ path: 'x', port: 1 }), ['/healthChecks(0)/path']],
  ['port and portIndex', checked({ port: 1, portIndex: 0 }), ['/healthChecks(0)/portIndex']],
  ['a portIndex that is not there', checked({ portIndex: 1 }), ['/healthChecks(0)/portIndex']],
  ['a check of no port', { ...onDcos, ...checked({}) }, ['/healthChecks(0)/portIndex']],
  ['no interval', checked({ port: 1, intervalSeconds: 0 }), ['/healthChecks(0)/intervalSeconds']],
  ['a delay', checked({ port: 1, delaySeconds: 3 }), ['/healthChecks(0)/delaySeconds']],
  ['a backoff below 0', { backoffSeconds: -1 }, ['/backoffSeconds']],
  ['a factor below 1', { backoffFactor: 0.5 }, ['/backoffFactor']],
  ['an absurd grace', { taskKillGracePeriodSeconds: 1e9 }, ['/taskKillGracePeriodSeconds']],
  ['a capacity over 1', { upgradeStrategy: { minimumHealthCapacity: 2 } }, ['/upgradeStrategy/minimumHealthCapacity']],
  ['an unknown kill selection', { killSelection: 'ANY' }, ['/killSelection']],
  ['LIKE without a pattern', { constraints: [['hostname', 'LIKE']] }, ['/constraints(0)']],
  ['a pattern that is none', { constraints: [['hostname', 'LIKE', 'a(']] }, ['/constraints(0)']],
  ['a pattern that takes for ever', { constraints: [['hostname', 'UNLIKE', '(a+)+b']] }, ['/constraints(0)']],
  ['a pattern with many ways', { constraints: [['hostname', 'LIKE', 'a?a?a?a?a?']] }, ['/constraints(0)']],
  ['a back reference', { constraints: [['hostname', 'LIKE', '(a)\\1']] }, ['/constraints(0)']],
  [
    'an unknown operator',
    {
      constraints: [
        ['hostname', 'UNIQUE'],
        ['hostname', 'NEAR', 'x'],
      ],
    },
    ['/constraints(1)'],
  ],
  ['MAX_PER of nothing', { constraints: [['rack', 'MAX_PER', 'x']] }, ['/constraints(0)']],
  ['an unknown place', { constraints: [['@rack', 'GROUP_BY', '3']] }, ['/constraints(0)']],
  ['UNIQUE with a value', { constraints: [['@zone', 'UNIQUE', '3']] }, ['/constraints(0)']],
  ['a constraint as text', { constraints: ['hostname UNIQUE'] }, ['/constraints(0)']],
  ['three at once', { cpus: -1, mem: 'x', wrong: true }, ['/cpus', '/mem', '/wrong']],
]

function pathsOf(body: unknown): readonly string[] {
  try {
    parseApp(body, context)
    return []
  } catch (error) {
    return problemsOf(error).map(({ path }) => path)
  }
}

t.test('each wrong input is refused with its path', async (t) => {
  for (const [name, overlay, paths] of bad) t.same(pathsOf({ ...base, ...overlay }).toSorted(), paths, name)
  for (const body of [undefined, null, [], 'x', 7]) t.same(pathsOf(body), ['/'], `a body of ${JSON.stringify(body)}`)
})

t.test('each path has a reason that a person can read', async (t) => {
  try {
    parseApp({ ...base, networks: [{ name: 'nowhere' }], cpus: 0 }, context)
    t.fail('should be refused')
  } catch (error) {
    t.match(error, { code: 'ERR_SERVICES_INVALID', message: /\/cpus/ })
  }
  try {
    parseApp({ ...base, networks: [{ name: 'nowhere' }] }, context)
    t.fail('should be refused')
  } catch (error) {
    const errors = ['there is no network "nowhere"; there are: dcos, lab']
    t.same(problemsOf(error), [{ path: '/networks(0)/name', errors }])
  }
})

const good: readonly (readonly [string, object, Partial<AppDefinition>])[] = [
  [
    "Marathon's defaults",
    {},
    {
      instances: 1,
      cpus: 1,
      mem: 128,
      disk: 0,
      backoffSeconds: 1,
      backoffFactor: 1.15,
      maxLaunchDelaySeconds: 300,
      upgradeStrategy: { minimumHealthCapacity: 1, maximumOverCapacity: 1 },
      networks: [{ mode: 'host', labels: {} }],
      portDefinitions: [{ port: 0, protocol: 'tcp', name: 'default', labels: {} }],
    },
  ],
  ['a relative id', { id: 'shop/web' }, { id: parseAppId('/shop/web') }],
  ['explicit nulls', { user: null, container: null, args: null, instances: null }, { instances: 1 }],
  ['fields that ask for nothing', { fetch: [], gpus: 0, dependencies: [], executor: '', version: 'x', tasks: [] }, {}],
  [
    'ports of old',
    { ports: [80, 0] },
    {
      portDefinitions: [
        { port: 80, protocol: 'tcp', labels: {} },
        { port: 0, protocol: 'tcp', labels: {} },
      ],
    },
  ],
  [
    'ipAddress of old',
    { ipAddress: { networkName: 'dcos', labels: { a: 'b' }, discovery: { ports: [{ number: 80, name: 'http' }] } } },
    {
      networks: [{ mode: 'container', name: 'dcos', labels: { a: 'b' } }],
      container: {
        type: 'MESOS',
        volumes: [],
        portMappings: [
          { containerPort: 80, name: 'http', servicePort: 0, protocol: 'tcp', labels: {}, networkNames: [] },
        ],
      },
    },
  ],
  ['a secret', { secrets: { a: { source: '/db/password' } }, env: { A: { secret: 'a' } } }, {}],
  ['an unreachable strategy', { unreachableStrategy: 'disabled' }, { unreachableStrategy: 'disabled' }],
  [
    'half an unreachable strategy',
    { unreachableStrategy: {} },
    { unreachableStrategy: { inactiveAfterSeconds: 300, expungeAfterSeconds: 600 } },
  ],
  [
    'patterns and zones',
    {
      constraints: [
        ['@zone', 'GROUP_BY', '3'],
        ['hostname', 'LIKE', 'node-[0-9]+'],
      ],
    },
    {},
  ],
  ['no ports on the host', { portDefinitions: [] }, { portDefinitions: [] }],
  [
    'one VIP with both protocols',
    mapped({ containerPort: 53, protocol: 'udp,tcp', labels: { VIP_0: '/both:53' } }),
    {},
  ],
  ['one VIP on two ports of one protocol', mapped(vip('/w:80'), vip('/w:80', { containerPort: 81 })), {}],
  ["another app's VIP with the same protocol", mapped(vip('/dns:53', { protocol: 'udp' })), {}],
  ['one number for tcp and for udp', mapped({ containerPort: 1 }, { containerPort: 1, protocol: 'udp' }), {}],
]

t.test('what is right is taken', async (t) => {
  for (const [name, overlay, expected] of good) t.match(parseApp({ ...base, ...overlay }, context), expected, name)
})

t.test('what was read can be sent back', async (t) => {
  const first = parseApp({ ...base, ...mapped(vip('/w:80', { hostPort: 0 })), ...checked({}) }, context)
  t.same(parseApp(JSON.parse(JSON.stringify(first)), context), first)
  const path = '/container/portMappings(0)/labels(VIP_0)'
  const use = { vip: 'w:80', protocols: ['tcp'], scheduler: 'wlc', path, spec: { kind: 'named', name: 'w', port: 80 } }
  t.same(vipUses(first).uses, [use])
})

t.test('an update is laid over what there is', async (t) => {
  const app = parseApp({ ...base, instances: 3, env: { A: '1' } }, context)
  const updated = (update: Record<string, unknown>) => parseApp(mergeUpdate(app, update), context)
  t.match(updated({ instances: 5 }), { instances: 5, env: { A: '1' }, cmd: 'sleep 1' })
  t.match(updated({ env: {} }), { instances: 3, env: {} })
  t.match(updated({ instances: null }), { instances: 1 }, 'null gives the default again')
  t.match(updated({ args: ['x'] }), { args: ['x'], cmd: undefined }, 'args take the place of cmd')
  t.match(updated(onDcos), { networks: [{ name: 'dcos' }], portDefinitions: undefined }, 'the host ports go')
})

t.test('ids', async (t) => {
  const id = parseAppId('shop/web.v2')
  const uuid = '0b5d1b2e-5f0c-4f43-9f4f-0a1b2c3d4e5f'
  t.equal(taskIdOf(id, uuid), `shop_web.v2.${uuid}`)
  t.equal(appIdOfTask(taskIdOf(id, uuid)), id)
  t.equal(taskNameOf(id), 'web.v2.shop')
  t.equal(appIdOfTask(taskIdOf(id, 'x')), undefined, 'a task that nobody here named')
})
