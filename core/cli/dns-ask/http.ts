// Fetches one path of a node's HTTP interface from inside the namespace that this process was started in. Words:
// PORT PATH. Prints the body; exits with 1 when there is none.
import { errorMessage } from '../../base/errors.ts'

const timeoutMs = 10_000

try {
  const [port = '', path = ''] = process.argv.slice(2)
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(timeoutMs) })
  const text = await response.text()
  if (response.ok) process.stdout.write(text)
  else {
    process.stderr.write(text)
    process.exitCode = 1
  }
} catch (error) {
  const reason = error instanceof Error && error.cause !== undefined ? errorMessage(error.cause) : errorMessage(error)
  process.stderr.write(`no answer of the node daemon: ${reason}\n`)
  process.exitCode = 1
}
