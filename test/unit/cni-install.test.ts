import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parseNetworkList } from '../../cni-plugins/cni/config.ts'
import { formatWeftConflist, weftCapabilities } from '../../cni-plugins/cni/conflist.ts'
import { buildCniClient } from '../../cni-plugins/weft/build.mjs'
import { type CniFile, installCniFiles, listOwnCniFiles, removeCniFiles } from '../../core/cli/commands/cni-files.ts'

t.test('files of ours come, change and go; those of others stay', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'wft-install-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const [bin, conf, source] = [join(directory, 'a', 'bin'), join(directory, 'net.d'), join(directory, 'built')]
  buildCniClient({ output: source, compiler: 'none' })
  const files = (socket: string): readonly CniFile[] => [
    { path: join(bin, 'weft'), content: { kind: 'copy', source } },
    { path: join(conf, '50-weft-dcos.conflist'), content: { kind: 'text', text: formatWeftConflist('dcos', socket) } },
  ]
  const actions = (socket: string) => installCniFiles(files(socket)).map(({ action }) => action)
  t.same(actions('/a'), ['created', 'created'])
  t.equal(statSync(join(bin, 'weft')).mode & 0o777, 0o755)
  t.same(actions('/a'), ['unchanged', 'unchanged'])
  t.same(actions('/b'), ['unchanged', 'updated'])
  const foreign = ['50-weft-other.conflist', '10-bridge.conflist', '50-weft-x.conf', 'weft']
  for (const name of foreign) writeFileSync(join(conf, name), '{"plugins":[{"type":"bridge"}]}')
  mkdirSync(join(conf, '50-weft-folder.conflist'))
  const own = listOwnCniFiles([bin, conf, join(directory, 'missing')])
  t.same(own, [join(bin, 'weft'), join(conf, '50-weft-dcos.conflist')])

  for (const text of ['{}', 'not JSON', formatWeftConflist('dcos', '/a').replace('"weft"', '"bridge"'), '']) {
    writeFileSync(join(conf, '50-weft-dcos.conflist'), text)
    t.throws(() => installCniFiles(files('/c')), { code: 'ERR_CLI_CNI_FOREIGN', message: /50-weft-dcos/ })
    t.equal(readFileSync(join(conf, '50-weft-dcos.conflist'), 'utf8'), text, 'a file of others is as it was')
  }
  rmSync(join(conf, '50-weft-dcos.conflist'))
  chmodSync(join(bin, 'weft'), 0o600)
  t.same(removeCniFiles(own).length, 2)
  t.same([readdirSync(bin), readdirSync(conf).length], [[], foreign.length + 1])
  for (const path of ['/proc/self/x/weft', join(source, 'x', 'weft')]) {
    const file: CniFile = { path, content: { kind: 'text', text: '' } }
    t.throws(() => installCniFiles([file]), { code: 'ERR_CLI_CNI_FILE' }, path)
  }
})

t.test('the configuration list says what the plugin takes, to old and new runtimes', async (t) => {
  const list = parseNetworkList(formatWeftConflist('dcos', '/run/weft/net.sock'))
  t.match(list, { name: 'dcos', cniVersion: '1.1.0', plugins: [{ type: 'weft' }] })
  t.same([...(list.plugins[0]?.capabilities ?? [])], [...weftCapabilities])
  t.match(JSON.parse(formatWeftConflist('dcos', '/s')), { cniVersion: '1.0.0' })
})
