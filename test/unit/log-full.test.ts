import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const log = fileURLToPath(new URL('../../core/base/log.ts', import.meta.url))

t.test(
  'a log on a full disk ends no process',
  { skip: existsSync('/dev/full') ? false : 'needs /dev/full' },
  async (t) => {
    const program = `
    import { openLog } from ${JSON.stringify(log)}
    const lines = openLog('test')
    for (let i = 0; i < 3; i++) {
      lines.info({ i }, 'a line')
      await new Promise(setImmediate)
    }
    process.stdout.write('went on')`
    const full = openSync('/dev/full', 'w')
    const { stdout, status } = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', program], {
      stdio: ['ignore', 'pipe', full],
      encoding: 'utf8',
    })
    closeSync(full)
    t.equal(stdout, 'went on')
    t.equal(status, 0)
  },
)
