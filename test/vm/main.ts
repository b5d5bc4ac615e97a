/** `node test/vm/main.ts COMMAND [ARGUMENT…]`: runs it in the test guest (run.ts); WEFT_GUEST_TIMEOUT_MS ends it (280,000). */
import { errorMessage } from '../../core/base/errors.ts'
import { runInGuest } from './run.ts'

const timeoutMs = Number(process.env['WEFT_GUEST_TIMEOUT_MS'] ?? 280_000)
try {
  process.exitCode = await runInGuest(process.argv.slice(2), {
    timeoutMs,
    env: { TAP_TIMEOUT: '250' },
    onOutput: (chunk, from) => process[from].write(chunk),
  })
} catch (error) {
  process.stderr.write(`${errorMessage(error)}\n`)
  process.exitCode = 125
}
