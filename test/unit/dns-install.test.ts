import {
  lstatSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { installResolver, uninstallResolver } from '../../core/cli/commands/dns-install.ts'

const quiet = { json: true, cluster: 'none', force: true }

/** Runs with standard output unheard. */
async function silently(run: () => Promise<void>): Promise<void> {
  const { write } = process.stdout
  process.stdout.write = () => true
  try {
    await run()
  } finally {
    process.stdout.write = write
  }
}

t.test('resolv.conf is put back exactly', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-resolv-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'resolv.conf')
  const install = (force = true) => silently(() => installResolver({ ...quiet, force, file }))
  const uninstall = (force = false) => silently(() => uninstallResolver({ ...quiet, force, file }))

  await t.test('a file: text, mode, inode', async (t) => {
    writeFileSync(file, 'nameserver 192.0.2.53 # mine\n', { mode: 0o640 })
    const { ino, mode } = statSync(file)
    await install()
    t.match(readFileSync(file, 'utf8'), /^nameserver 198\.51\.100\.1$/m)
    await t.rejects(install(), { code: 'ERR_CLI_RESOLVER', message: /already/ })
    await uninstall()
    t.equal(readFileSync(file, 'utf8'), 'nameserver 192.0.2.53 # mine\n')
    t.same({ ino: statSync(file).ino, mode: statSync(file).mode }, { ino, mode })
    await t.rejects(uninstall(), { code: 'ERR_CLI_RESOLVER', message: /not installed/ })
    rmSync(file)
  })

  await t.test('a symbolic link', async (t) => {
    symlinkSync('../run/stub-resolv.conf', file)
    await install()
    t.notOk(lstatSync(file).isSymbolicLink())
    await uninstall()
    t.equal(readlinkSync(file), '../run/stub-resolv.conf')
    rmSync(file)
  })

  await t.test('nothing', async (t) => {
    await install()
    t.ok(lstatSync(file))
    await uninstall()
    t.equal(lstatSync(file, { throwIfNoEntry: false }), undefined)
  })

  await t.test("somebody's change since is not thrown away unasked", async (t) => {
    writeFileSync(file, 'nameserver 192.0.2.53\n')
    await install()
    writeFileSync(file, 'nameserver 192.0.2.99\n')
    await t.rejects(uninstall(), { code: 'ERR_CLI_RESOLVER', message: /changed since/ })
    t.match(readFileSync(file, 'utf8'), /192\.0\.2\.99/)
    await uninstall(true)
    t.match(readFileSync(file, 'utf8'), /192\.0\.2\.53/)
  })
})
