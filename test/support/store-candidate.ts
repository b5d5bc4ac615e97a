/**
 * A process that wants to lead: `node store-candidate.ts URL NAME`. In office it writes a witness every 20 ms without ever
 * asking whether it still leads. What happens to it goes to standard output, a JSON object per line.
 */
import { openStore } from '../../core/store/open.ts'

const [url = '', name = ''] = process.argv.slice(2)
const tell = (event: string, detail: string | number) => process.stdout.write(`${JSON.stringify({ event, detail })}\n`)

const store = await openStore(url, { stateDir: '/nonexistent' })
const { signal } = new AbortController()
tell('waiting', name)
const { term, lost } = await store.elect(name, { signal })
lost.addEventListener('abort', () => tell('lost', term))
tell('elected', term)
for (let i = 0; ; i++) {
  try {
    await store.write([{ key: `witness/${term}-${i}`, value: String(term) }], { term })
    if (i === 0) tell('wrote', term)
  } catch (error) {
    const code = String(Reflect.get(Object(error), 'code'))
    if (code !== 'ERR_STORE_UNAVAILABLE') {
      tell('refused', code)
      break
    } // what was on its way when the process was stopped may break with the connection: the next one tells
  }
  await new Promise((resolve) => setTimeout(resolve, 20))
}
await store.close()
