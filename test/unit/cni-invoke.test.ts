import t from 'tap'
import { parseNetworkList } from '../../cni-plugins/cni/config.ts'
import {
  addNetwork,
  checkNetwork,
  collectNetwork,
  delNetwork,
  networkStatus,
  type PluginCall,
  type PluginExit,
  type PluginRunner,
} from '../../cni-plugins/cni/invoke.ts'

const { signal } = new AbortController()
const answer = (address: string) => ({ cniVersion: '1.1.0', ips: [{ address }] })
const good = (value: object): PluginExit => ({ exitCode: 0, stdout: JSON.stringify(value), stderr: '' })

function fakeRunner(answers: readonly PluginExit[] = []) {
  const calls: { readonly path: string; readonly env: PluginCall['env']; readonly config: unknown }[] = []
  const runner: PluginRunner = {
    searchPath: '/a:/b',
    find: async (type) => `/a/${type}`,
    run: async ({ path, env, stdin }) => {
      calls.push({ path, env, config: JSON.parse(stdin) })
      return answers[calls.length - 1] ?? good({})
    },
  }
  return { runner, calls }
}

const listOf = (more: object = {}) =>
  parseNetworkList(
    JSON.stringify({
      cniVersion: '1.1.0',
      name: 'dcos',
      plugins: [
        { type: 'weft', socket: '/s', capabilities: { ips: true } },
        { type: 'tuning', name: 'ignored' },
      ],
      ...more,
    }),
  )

const attachment = {
  containerId: 'c1',
  ifname: 'eth0',
  netns: '/run/netns/x',
  args: 'A=1',
  capabilityArgs: { ips: ['10.0.0.9'], portMappings: [] },
}

t.test('ADD chains results', async (t) => {
  const { runner, calls } = fakeRunner([good(answer('10.0.0.1/32')), good(answer('10.0.0.2/32'))])
  const result = await addNetwork(runner, { list: listOf(), attachment }, { signal })
  t.match(result.ips, [{ address: '10.0.0.2', prefixLength: 32 }])
  const env = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'c1',
    CNI_IFNAME: 'eth0',
    CNI_NETNS: '/run/netns/x',
    CNI_ARGS: 'A=1',
    CNI_PATH: '/a:/b',
  }
  t.same(calls[0], {
    path: '/a/weft',
    env,
    config: { type: 'weft', socket: '/s', name: 'dcos', cniVersion: '1.1.0', runtimeConfig: { ips: ['10.0.0.9'] } },
  })
  const { prevResult, ...config } = { prevResult: undefined, ...Object(calls[1]?.config) }
  t.same(config, { type: 'tuning', name: 'dcos', cniVersion: '1.1.0' }, 'no capability that it did not declare')
  t.match(prevResult, { cniVersion: '1.1.0', ips: [{ address: '10.0.0.1/32' }] })
})

t.test('DEL goes backwards; CHECK, STATUS and GC only where the version has them', async (t) => {
  const { runner, calls } = fakeRunner()
  const prevResult = { interfaces: [], ips: [], routes: [], dns: { nameservers: [], search: [], options: [] } }
  await delNetwork(
    runner,
    { list: listOf(), attachment: { containerId: 'c1', ifname: 'eth0' }, prevResult },
    { signal },
  )
  await delNetwork(runner, { list: listOf({ cniVersion: '0.3.1' }), attachment, prevResult }, { signal })
  await checkNetwork(runner, { list: listOf({ cniVersion: '0.3.1' }), attachment, prevResult }, { signal })
  await checkNetwork(runner, { list: listOf({ disableCheck: true }), attachment, prevResult }, { signal })
  await checkNetwork(runner, { list: listOf(), attachment, prevResult }, { signal })
  await networkStatus(runner, listOf({ cniVersion: '1.0.0' }), { signal })
  await networkStatus(runner, listOf(), { signal })
  await collectNetwork(runner, { list: listOf({ disableGC: true }), alive: [] }, { signal })
  await collectNetwork(runner, { list: listOf(), alive: [attachment] }, { signal })
  t.same(
    calls.map(({ path, env, config }) => `${env['CNI_COMMAND']} ${path} ${'prevResult' in Object(config)}`),
    [
      'DEL /a/tuning true',
      'DEL /a/weft true',
      'DEL /a/tuning false',
      'DEL /a/weft false',
      'CHECK /a/weft true',
      'CHECK /a/tuning true',
      'STATUS /a/weft false',
      'STATUS /a/tuning false',
      'GC /a/weft false',
      'GC /a/tuning false',
    ],
  )
  t.equal(calls[0]?.env['CNI_NETNS'], '')
  t.match(calls.at(-1)?.config, { 'cni.dev/valid-attachments': [{ containerID: 'c1', ifname: 'eth0' }] })
})

t.test('what plugins say when they fail', async (t) => {
  const cases: readonly (readonly [PluginExit, number, RegExp])[] = [
    [
      { exitCode: 1, stdout: '{"code":11,"msg":"later","details":"why"}', stderr: '' },
      11,
      /weft: ADD on network dcos: later \(why\)/,
    ],
    [{ exitCode: 2, stdout: '', stderr: 'panic: oh\n' }, 999, /exited with 2: panic: oh/],
    [{ exitCode: 1, stdout: '{"code":"x"}', stderr: '' }, 999, /exited with 1/],
    [{ exitCode: 1, stdout: '', stderr: '' }, 999, /no output/],
  ]
  for (const [exit, cniCode, message] of cases) {
    const { runner, calls } = fakeRunner([exit])
    const expected = { code: 'ERR_CNI_PLUGIN', details: { cniCode }, message }
    await t.rejects(addNetwork(runner, { list: listOf(), attachment }, { signal }), expected)
    t.equal(calls.length, 1, 'the next plugin is not started')
  }
  const { runner, calls } = fakeRunner([{ exitCode: 1, stdout: '{}', stderr: '' }])
  await t.rejects(collectNetwork(runner, { list: listOf(), alive: [] }, { signal }), {
    errors: [{ code: 'ERR_CNI_PLUGIN' }],
  })
  t.equal(calls.length, 2, 'GC asks every plugin')
  const garbage = fakeRunner([{ exitCode: 0, stdout: 'hello', stderr: '' }])
  await t.rejects(addNetwork(garbage.runner, { list: listOf(), attachment }, { signal }), { code: 'ERR_CNI_DECODE' })
})
