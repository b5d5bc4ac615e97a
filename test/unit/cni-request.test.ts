import t from 'tap'
import { parseNetworkList } from '../../cni-plugins/cni/config.ts'
import { type CniEnv, parseCniRequest } from '../../cni-plugins/cni/request.ts'

const attachment = { CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: '/run/netns/x' }
const config = { cniVersion: '1.0.0', name: 'dcos', type: 'weft' }
const env = (CNI_COMMAND: string, more: CniEnv = {}): CniEnv => ({ CNI_COMMAND, ...attachment, ...more })
const text = (more: object = {}) => JSON.stringify({ ...config, ...more })
const previous = { prevResult: { cniVersion: '1.0.0', interfaces: [], ips: [] } }

t.test('good requests', async (t) => {
  const cases: readonly (readonly [string, CniEnv, string, object])[] = [
    [
      'ADD',
      env('ADD'),
      text(),
      { kind: 'ADD', attachment: { containerId: 'c1', ifname: 'eth0' }, wishes: { ips: [] } },
    ],
    [
      'unknown keys are fine',
      env('ADD'),
      text({ 'cni.dev/x': 1, capabilities: { x: true }, future: {} }),
      { kind: 'ADD' },
    ],
    ['no version is 0.1.0', env('ADD'), '{"name":"dcos"}', { config: { cniVersion: '0.1.0' } }],
    ['DEL without netns', env('DEL', { CNI_NETNS: '' }), text(), { kind: 'DEL', netns: undefined }],
    ['DEL looks at no args', env('DEL', { CNI_ARGS: 'broken' }), text({ prevResult: { ips: 'x' } }), { kind: 'DEL' }],
    ['CHECK', env('CHECK'), text(previous), { kind: 'CHECK', prevResult: { ips: [] } }],
    ['STATUS needs no container', { CNI_COMMAND: 'STATUS' }, text({ cniVersion: '1.1.0' }), { kind: 'STATUS' }],
    ['GC without a list', { CNI_COMMAND: 'GC' }, text({ cniVersion: '1.1.0' }), { kind: 'GC', valid: undefined }],
    [
      'GC with libcni’s key',
      { CNI_COMMAND: 'GC' },
      text({ cniVersion: '1.1.0', 'cni.dev/attachments': [{ containerID: 'a', ifname: 'b' }] }),
      { kind: 'GC', valid: [{ containerId: 'a', ifname: 'b' }] },
    ],
    ['VERSION of nothing', { CNI_COMMAND: 'VERSION' }, '', { kind: 'VERSION', cniVersion: '1.1.0' }],
    ['VERSION echoes', { CNI_COMMAND: 'VERSION' }, '{"cniVersion":"7"}', { kind: 'VERSION', cniVersion: '7' }],
    [
      'CNI_ARGS',
      env('ADD', { CNI_ARGS: 'IgnoreUnknown=true;X=1;IP=10.0.0.1/24,fd00::1;MAC=02:AA:00:00:00:01;' }),
      text(),
      { wishes: { ips: ['10.0.0.1', 'fd00::1'], mac: '02:aa:00:00:00:01' } },
    ],
    [
      'args.cni over CNI_ARGS',
      env('ADD', { CNI_ARGS: 'IP=10.0.0.1' }),
      text({ args: { cni: { ips: ['10.0.0.2'] } } }),
      { wishes: { ips: ['10.0.0.2'] } },
    ],
    [
      'runtimeConfig over args.cni',
      env('ADD'),
      text({ args: { cni: { ips: ['10.0.0.2'] } }, runtimeConfig: { ips: ['10.0.0.3/8'], mac: '02:00:00:00:00:09' } }),
      { wishes: { ips: ['10.0.0.3'], mac: '02:00:00:00:00:09' } },
    ],
  ]
  for (const [name, environment, stdin, request] of cases) t.match(parseCniRequest(environment, stdin), request, name)
})

t.test('hostile requests', async (t) => {
  const environment = 'ERR_CNI_ENVIRONMENT'
  const decode = 'ERR_CNI_DECODE'
  const cases: readonly (readonly [CniEnv, string, string])[] = [
    [{}, text(), environment],
    [env('add'), text(), environment],
    [env('toString'), text(), environment],
    [env('__proto__'), text(), environment],
    [env('ADD', { CNI_CONTAINERID: '' }), text(), environment],
    [env('ADD', { CNI_NETNS: undefined }), text(), environment],
    [env('CHECK', { CNI_NETNS: '' }), text(previous), environment],
    [env('DEL', { CNI_IFNAME: '' }), text(), environment],
    [env('ADD', { CNI_CONTAINERID: '../etc' }), text(), environment],
    [env('ADD', { CNI_CONTAINERID: '-x' }), text(), environment],
    [env('ADD', { CNI_CONTAINERID: 'a\nb' }), text(), environment],
    [env('ADD', { CNI_CONTAINERID: 'x'.repeat(300) }), text(), environment],
    ...['.', '..', 'a/b', 'a:b', 'a b', 'sixteen-letters-', 'tab\t', 'é', '%s', '\x7f'].map(
      (name): readonly [CniEnv, string, string] => [env('ADD', { CNI_IFNAME: name }), text(), environment],
    ),
    [env('ADD', { CNI_ARGS: 'IP' }), text(), environment],
    [env('ADD', { CNI_ARGS: '=x' }), text(), environment],
    [env('ADD', { CNI_ARGS: 'WHAT=x' }), text(), environment],
    [env('ADD', { CNI_ARGS: 'WHAT=x;IgnoreUnknown=0' }), text(), environment],
    [env('ADD', { CNI_ARGS: 'IP=10.0.0.256' }), text(), environment],
    [env('ADD', { CNI_ARGS: 'MAC=01:00:00:00:00:01' }), text(), environment],
    [env('ADD', { CNI_ARGS: 'MAC=00:00:00:00:00:00' }), text(), environment],
    [env('ADD'), '', decode],
    [env('ADD'), '{', decode],
    [env('ADD'), '[]', decode],
    [env('ADD'), 'null', decode],
    [env('ADD'), `${'['.repeat(200_000)}`, decode],
    [env('ADD'), text({ name: 7 }), decode],
    [env('ADD'), text({ runtimeConfig: [] }), decode],
    [env('ADD'), text({ args: 'x' }), decode],
    [env('ADD'), text({ runtimeConfig: { ips: 'x' } }), decode],
    [env('ADD'), text({ runtimeConfig: { ips: [7] } }), decode],
    [env('ADD'), text({ prevResult: [] }), decode],
    [env('ADD'), text({ prevResult: { ips: [{ address: '10.0.0.1' }] } }), decode],
    [env('ADD'), text({ prevResult: { ips: [{ address: '10.0.0.1/33' }] } }), decode],
    [env('ADD'), text({ prevResult: { ips: [{ address: '10.0.0.1/8', interface: 0 }] } }), decode],
    [env('ADD'), text({ prevResult: { ips: [{ address: '10.0.0.1/8', interface: -1 }], interfaces: [{}] } }), decode],
    [env('ADD'), text({ prevResult: { routes: [{ gw: '10.0.0.1' }] } }), decode],
    [env('ADD'), text({ runtimeConfig: { ips: ['nonsense'] } }), 'ERR_CNI_FIELD'],
    [env('ADD'), text({ args: { cni: { mac: 'nonsense' } } }), 'ERR_CNI_FIELD'],
    [env('ADD'), '{"cniVersion":"1.0.0"}', 'ERR_CNI_CONFIG'],
    [env('ADD'), text({ name: '../x' }), 'ERR_CNI_CONFIG'],
    [env('ADD'), text({ name: '' }), 'ERR_CNI_CONFIG'],
    [env('CHECK'), text(), 'ERR_CNI_CONFIG'],
    [env('ADD'), text({ cniVersion: '2.0.0' }), 'ERR_CNI_VERSION'],
    [env('ADD'), text({ cniVersion: 1 }), 'ERR_CNI_VERSION'],
    [env('ADD'), text({ cniVersion: 'x'.repeat(10_000) }), 'ERR_CNI_VERSION'],
    [env('CHECK'), text({ cniVersion: '0.3.1', ...previous }), 'ERR_CNI_VERSION'],
    [env('GC'), text(), 'ERR_CNI_VERSION'],
    [env('STATUS'), text(), 'ERR_CNI_VERSION'],
    [env('GC'), text({ cniVersion: '1.1.0', 'cni.dev/valid-attachments': [{ containerID: 'a' }] }), decode],
    [env('GC'), text({ cniVersion: '1.1.0', 'cni.dev/valid-attachments': ['a'] }), decode],
    [env('GC'), text({ cniVersion: '1.1.0', 'cni.dev/valid-attachments': {} }), decode],
  ]
  for (const [environmentOfCase, stdin, code] of cases) {
    const name = `${JSON.stringify(environmentOfCase)} ${stdin}`.slice(0, 150)
    t.throws(() => parseCniRequest(environmentOfCase, stdin), { code }, name)
  }
})

t.test('configuration lists', async (t) => {
  const list = parseNetworkList(
    JSON.stringify({
      cniVersions: ['0.4.0', '1.0.0', '9.0.0'],
      name: 'n',
      disableCheck: 'true',
      plugins: [{ type: 'weft', capabilities: { ips: true, mac: false } }, { type: 'tuning' }],
    }),
  )
  t.match(list, {
    cniVersion: '1.0.0',
    checks: 'disabled',
    gc: 'enabled',
    plugins: [{ type: 'weft' }, { type: 'tuning' }],
  })
  t.same([...(list.plugins[0]?.capabilities ?? [])], ['ips'])
  t.match(parseNetworkList(text()), { plugins: [{ type: 'weft' }] }, 'a single configuration')
  for (const [broken, code] of [
    [{ plugins: [] }, 'ERR_CNI_CONFIG'],
    [{ plugins: [{ type: '../evil' }] }, 'ERR_CNI_CONFIG'],
    [{ plugins: [{}] }, 'ERR_CNI_CONFIG'],
    [{ plugins: ['weft'] }, 'ERR_CNI_DECODE'],
    [{ name: 'a b' }, 'ERR_CNI_CONFIG'],
    [{ cniVersion: '8.0.0', cniVersions: ['9.0.0'] }, 'ERR_CNI_VERSION'],
    [{ disableGC: 7 }, 'ERR_CNI_DECODE'],
  ] as const) {
    t.throws(() => parseNetworkList(text(broken)), { code }, JSON.stringify(broken))
  }
})
