import t from 'tap'
import { cronProblem, lastDueMs, nextDueMs, timezoneProblem } from '../../core/jobs/cron.ts'

/** Due times after `from`, as UTC without seconds. */
function dues(cron: string, timezone: string, from: string, count: number): readonly string[] {
  const found: string[] = []
  let atMs: number | undefined = Date.parse(`${from}Z`)
  for (let i = 0; i < count; i++) {
    atMs = nextDueMs({ cron, timezone }, atMs)
    if (atMs === undefined) break
    found.push(new Date(atMs).toISOString().slice(5, 16))
  }
  return found
}

// Made from the zones' own rules (tzdata), by hand: local time and offset of each line are in its comment.
const cases: readonly (readonly [string, string, string, string, readonly string[]])[] = [
  // Europe/Berlin: 2026-03-29 02:00 +1 becomes 03:00 +2; 2026-10-25 03:00 +2 becomes 02:00 +1.
  [
    'not there: once, at the first time that is',
    '30 2 * * *',
    'Europe/Berlin',
    '2026-03-28T00:00',
    ['03-28T01:30', '03-29T01:00', '03-30T00:30'],
  ],
  [
    'there twice: the first only',
    '30 2 * * *',
    'Europe/Berlin',
    '2026-10-24T00:00',
    ['10-24T00:30', '10-25T00:30', '10-26T01:30'],
  ],
  [
    'hourly over the gap',
    '0 * * * *',
    'Europe/Berlin',
    '2026-03-28T23:00',
    ['03-29T00:00', '03-29T01:00', '03-29T02:00'],
  ],
  [
    'hourly over the repeated hour',
    '0 * * * *',
    'Europe/Berlin',
    '2026-10-24T23:00',
    ['10-25T00:00', '10-25T01:00', '10-25T02:00'],
  ],
  [
    'a pattern of several leaves out what is not there',
    '0,30 2 * * *',
    'Europe/Berlin',
    '2026-03-28T12:00',
    ['03-30T00:00', '03-30T00:30'],
  ],
  [
    'a pattern of several repeats',
    '*/30 2 * * *',
    'Europe/Berlin',
    '2026-10-24T12:00',
    ['10-25T00:00', '10-25T00:30', '10-25T01:00', '10-25T01:30', '10-26T01:00'],
  ],
  [
    'before and after the change, same local time',
    '0 12 * * *',
    'Europe/Berlin',
    '2026-03-28T00:00',
    ['03-28T11:00', '03-29T10:00'],
  ],
  // America/New_York: 2026-03-08 02:00 -5 becomes 03:00 -4; 2026-11-01 02:00 -4 becomes 01:00 -5.
  ['not there', '15 2 * * *', 'America/New_York', '2026-03-07T00:00', ['03-07T07:15', '03-08T07:00', '03-09T06:15']],
  ['there twice', '15 1 * * *', 'America/New_York', '2026-10-31T00:00', ['10-31T05:15', '11-01T05:15', '11-02T06:15']],
  [
    'every quarter hour',
    '*/15 1 1 11 *',
    'America/New_York',
    '2026-11-01T00:00',
    [
      '11-01T05:00',
      '11-01T05:15',
      '11-01T05:30',
      '11-01T05:45',
      '11-01T06:00',
      '11-01T06:15',
      '11-01T06:30',
      '11-01T06:45',
    ],
  ],
  // Australia/Lord_Howe: half an hour. 2026-04-05 02:00 +11 becomes 01:30 +10:30; 2026-10-04 02:00 +10:30 becomes 02:30 +11.
  [
    'half an hour not there',
    '15 2 * * *',
    'Australia/Lord_Howe',
    '2026-10-02T12:00',
    ['10-02T15:45', '10-03T15:30', '10-04T15:15'],
  ],
  [
    'half an hour twice',
    '45 1 * * *',
    'Australia/Lord_Howe',
    '2026-04-03T12:00',
    ['04-03T14:45', '04-04T14:45', '04-05T15:15'],
  ],
  // Asia/Kolkata: +5:30, no change.
  ['an offset with half an hour', '0 9 * * 1-5', 'Asia/Kolkata', '2026-03-27T00:00', ['03-27T03:30', '03-30T03:30']],
  ['leap days', '0 0 29 2 *', 'UTC', '2026-01-01T00:00', ['02-29T00:00', '02-29T00:00']],
  [
    'day of month or day of week',
    '0 0 13 * 5',
    'UTC',
    '2026-08-01T00:00',
    ['08-07T00:00', '08-13T00:00', '08-14T00:00'],
  ],
  ['a nickname', '@daily', 'Europe/Berlin', '2026-07-01T00:00', ['07-01T22:00']],
]

t.test('due times through changes of the clock', async (t) => {
  for (const [name, cron, timezone, from, expected] of cases) {
    t.same(dues(cron, timezone, from, expected.length), expected, `${timezone} ${cron}: ${name}`)
  }
})

t.test('the last due time is what a walk forward ends at', async (t) => {
  const rules = [
    ...cases.map(([, cron, timezone]) => ({ cron, timezone })),
    { cron: '* * * * *', timezone: 'Australia/Lord_Howe' },
    { cron: '*/7 1-3 * * *', timezone: 'Europe/Berlin' },
  ]
  const ends = ['2026-03-29T01:30', '2026-10-25T01:00', '2026-04-04T15:10', '2026-11-01T06:20', '2026-07-01T00:00']
  for (const rule of rules) {
    for (const end of ends) {
      const untilMs = Date.parse(`${end}Z`)
      const afterMs = untilMs - 40 * 3_600_000
      let walked: number | undefined
      for (let next = nextDueMs(rule, afterMs); next !== undefined && next <= untilMs; next = nextDueMs(rule, next)) {
        walked = next
      }
      t.equal(lastDueMs(rule, { afterMs, untilMs }), walked, `${rule.cron} ${rule.timezone} ${end}`)
    }
  }
  const minutely = { cron: '* * * * *', timezone: 'UTC' }
  const nowMs = Date.UTC(2026, 6, 1, 12)
  t.equal(lastDueMs(minutely, { afterMs: nowMs, untilMs: nowMs }), undefined, 'nothing in an empty time')
  t.equal(lastDueMs(minutely, { afterMs: 0, untilMs: nowMs + 30_000 }), nowMs, 'quick after half a century')
  t.equal(lastDueMs({ cron: '0 0 29 2 *', timezone: 'UTC' }, { afterMs: 0, untilMs: nowMs }), Date.UTC(2024, 1, 29))
})

t.test('what is no pattern, and no zone', async (t) => {
  for (const cron of [
    '',
    'a b c',
    '* * * *',
    '* * * * * *',
    '61 * * * *',
    '* 24 * * *',
    '* * 0 * *',
    '5-1 * * * *',
    '*/0 * * * *',
  ]) {
    t.match(cronProblem(cron), /not a cron pattern/, `"${cron}"`)
  }
  t.match(cronProblem('0 0 30 2 *'), /never due/)
  for (const cron of ['* * * * *', '0 0 1 JAN MON', '*/5 8-18 * * 1-5', '@hourly'])
    t.equal(cronProblem(cron), undefined)
  for (const zone of ['Mars/Olympus', '', '+02:00', 'Europe']) t.match(timezoneProblem(zone), /time zone/, zone)
  for (const zone of ['UTC', 'Europe/Berlin', 'Asia/Kolkata']) t.equal(timezoneProblem(zone), undefined)
})
