import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { encodeMessage } from '../../discovery/dns/message.ts'
import { bareQuery } from '../../discovery/server/hot-compile.ts'
import { makeHotBuffers } from '../../discovery/server/hot-memory.ts'
import { openHotResponses } from '../../discovery/server/hot-responses.ts'
import { monotonicSeconds } from '../../discovery/server/respond.ts'
import { query } from '../fixtures/dns/messages.ts'
import { fixtureStage } from '../fixtures/dns/zones.ts'
import { repositoryRoot, sourceFiles } from '../support/tree.ts'

const hour = 3_600_000

/** Runs `task` while the time of day is so far off. */
function withWallClock<Result>(offMs: number, task: () => Result): Result {
  const real = Date.now
  Date.now = () => real() + offMs
  try {
    return task()
  } finally {
    Date.now = real
  }
}

t.test('nothing that lives for a time looks at the time of day', async (t) => {
  const wall = /Date\.now|new Date\(\)|clock\.nowMs|systemClock\.nowMs|CLOCK_REALTIME/
  const users = sourceFiles(['discovery']).filter((file) => wall.test(readFileSync(join(repositoryRoot, file), 'utf8')))
  t.same(users, [])
})

t.test('a jump of the time of day neither ends a cached answer nor brings it back', async (t) => {
  const { zones } = await fixtureStage()
  let seconds = monotonicSeconds()
  const hot = openHotResponses(makeHotBuffers(), () => seconds)
  const packet = encodeMessage(query('web.example.com', 'A', { recursionDesired: true }), { limitBytes: 512 })
  const bare = bareQuery(packet)
  const cached = { bornSeconds: seconds, untilSeconds: seconds + 60, ttlOffsets: [] }
  hot.keep({ packet: bare, area: 'positive', rcode: 0, variants: [bare], names: [], cached })
  const context = { zones, transport: 'udp', rotation: 0, recursion: 'forwarded' } as const
  const found = (offMs: number) => withWallClock(offMs, () => hot.find(packet, context) !== undefined)
  const jumps = [-30 * 24 * hour, -hour, 0, hour, 30 * 24 * hour]
  t.same(jumps.map(found), [true, true, true, true, true])
  seconds += 61
  t.same(jumps.map(found), [false, false, false, false, false])
  const [before, after] = [monotonicSeconds(), withWallClock(24 * hour, monotonicSeconds)]
  t.ok(after - before <= 1, 'the clock of life times does not jump')
})
