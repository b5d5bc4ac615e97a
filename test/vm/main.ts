/**
 * `node test/vm/main.ts COMMAND [ARGUMENT…]`: runs it in the test guest (run.ts); WEFT_GUEST_TIMEOUT_MS ends it (280,000).
 * With WEFT_GUEST_TAP=1 a guest that can't be booted here is told as a skipped test, not as a failure.
 */
import { errorMessage, hasCode } from '../../core/base/errors.ts'
import { compileCache } from '../../core/cli/up/processes.ts'
import { runInGuest } from './run.ts'

const timeoutMs = Number(process.env['WEFT_GUEST_TIMEOUT_MS'] ?? 280_000)
/** What tests may be asked for beside their paths. */
const modes = Object.fromEntries(
  ['WEFT_REPEAT', 'WEFT_LONG'].flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
)
try {
  process.exitCode = await runInGuest(process.argv.slice(2), {
    timeoutMs,
    // Stripping types takes most of a start there: 0.6 s of 0.7. The guest keeps what it compiles until its end.
    env: { NODE_COMPILE_CACHE: compileCache, ...modes, TAP_TIMEOUT: String(Math.trunc(timeoutMs / 1000) - 30) },
    onOutput: (chunk, from) => process[from].write(chunk),
  })
} catch (error) {
  process.stderr.write(`${errorMessage(error)}\n`)
  const bootless = hasCode(error, 'ERR_GUEST_BOOT') || hasCode(error, 'ERR_GUEST_MISSING')
  if (bootless && process.env['WEFT_GUEST_TAP'] === '1') {
    process.stdout.write('ok 1 - test guest # SKIP it does not boot on this machine\n1..1\n')
  } else process.exitCode = 125
}
