import { type DeploymentProgress, formatProgress } from './progress.ts'

/** Where progress is shown: a terminal is drawn over, anything else gets a line for each change. */
export interface ProgressStream {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/** Reasons are shown when nothing has changed for so long. */
const quietMs = 3_000
/** Reasons at a time. */
const maxReasons = 5
/** Erases from the cursor to the end of the screen. Source: ECMA-48, ED. */
const erase = '\u001b[J'

/** A display for one deployment; `nowMs` is monotonic. */
export function openDisplay(stream: ProgressStream, nowMs: () => number): (progress: DeploymentProgress) => void {
  const startMs = nowMs()
  let changedMs = startMs
  let shown = ''
  let drawn = 0
  let told = ''
  return (progress) => {
    const lines = formatProgress(progress, (nowMs() - startMs) / 1000)
    const facts = lines.map(withoutTime).join('\n')
    const isNew = facts !== shown
    if (isNew) changedMs = nowMs()
    shown = facts
    const reasons = nowMs() - changedMs < quietMs ? [] : progress.waitingFor.slice(0, maxReasons)
    const all = [...lines, ...reasons.map((reason) => `  waits: ${reason}`)]
    if (stream.isTTY === true) {
      const width = stream.columns ?? 80
      const cut = all.map((line) => line.slice(0, width - 1))
      stream.write(`${drawn === 0 ? '' : `\u001b[${drawn}A`}${erase}${cut.join('\n')}\n`)
      drawn = cut.length
      return
    }
    if (isNew) stream.write(`${lines.join('\n')}\n`)
    const why = reasons.join('\n')
    if (why !== '' && why !== told) stream.write(`${reasons.map((reason) => `  waits: ${reason}`).join('\n')}\n`)
    told = why
  }
}

function withoutTime(line: string): string {
  return line.replace(/ {2}\S+ s$/, '')
}
