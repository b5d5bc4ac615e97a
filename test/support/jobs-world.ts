import Fastify from 'fastify'
import { type Test } from 'tap'
import { silentLog } from '../../core/base/log.ts'
import { type Jobs, openJobs } from '../../core/jobs/jobs.ts'
import { type MemoryStore, openMemoryStore } from '../../core/store/memory.ts'
import { type Clock } from '../../core/base/clock.ts'
import { type FakeAgent, type FakeCluster, openFakeCluster, quiesce } from './fake-cluster.ts'

/** A clock whose two readings are told apart: time passes for both, but the wall clock can be set too. */
export interface WallClock extends Clock {
  /** Timers ring in between, in their order. */
  advance(ms: number): void
  /** Sets the wall clock; no time passes. */
  setWall(ms: number): void
}

/** Opens a clock at `startMs` of the wall. */
export function openWallClock(startMs: number): WallClock {
  let elapsedMs = 1_000_000
  let wallMs = startMs
  const timers = new Set<{ readonly atMs: number; readonly task: () => void }>()
  return {
    nowMs: () => wallMs,
    monotonicMs: () => elapsedMs,
    sleep: () => Promise.reject(new Error('the fake clock does not sleep')),
    after: (ms, task) => {
      const timer = { atMs: elapsedMs + ms, task }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    advance: (ms) => {
      elapsedMs += ms
      wallMs += ms
      for (const timer of [...timers].toSorted((a, b) => a.atMs - b.atMs)) {
        if (timer.atMs <= elapsedMs && timers.delete(timer)) timer.task()
      }
    },
    setWall: (ms) => {
      wallMs = ms
    },
  }
}

/** Jobs on a simulated cluster, and what a test does with them. */
export interface JobsWorld {
  readonly cluster: FakeCluster
  readonly clock: WallClock
  readonly store: MemoryStore
  readonly jobs: Jobs
  send(method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, body?: unknown): Promise<Answer>
  settle(): Promise<void>
  /** Time passes in steps, and everything that it brings about comes about. */
  pass(ms: number, stepMs?: number): Promise<void>
  close(): Promise<void>
}

/** An answer of the API. */
export interface Answer {
  readonly status: number
  readonly body: unknown
}

/** What a world may be given: parts of an earlier one go on in the next. */
export interface JobsParts {
  readonly agents?: readonly FakeAgent[]
  readonly from?: JobsWorld
  readonly term?: number
  readonly startMs?: number
}

/** 2026-07-01 12:00 UTC: no change of any clock near. */
export const summerMs = Date.UTC(2026, 6, 1, 12)

/** A world that ends with the test. */
export async function openJobsWorld(t: Pick<Test, 'teardown'>, parts: JobsParts = {}): Promise<JobsWorld> {
  const clock = parts.from?.clock ?? openWallClock(parts.startMs ?? summerMs)
  const store = parts.from?.store ?? openMemoryStore()
  const cluster = parts.from?.cluster ?? openFakeCluster(parts.agents ?? twoAgents, clock)
  const jobs = await openJobs({
    ...{ driver: cluster.driver, store, clock, log: silentLog, term: parts.term ?? 1 },
    cluster: { networkNames: () => new Set(['dcos', 'lab']), hostname: 'master' },
  })
  const app = Fastify()
  await app.register(jobs.routes)
  await quiesce(cluster)
  const world: JobsWorld = {
    ...{ cluster, clock, store, jobs },
    send: async (method, url, body) => {
      const json = { payload: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
      const response = await app.inject({ method, url, ...(body === undefined ? {} : json) })
      return { status: response.statusCode, body: parseBody(response.body) }
    },
    settle: () => quiesce(cluster),
    pass: async (ms, stepMs = 1_000) => {
      for (let left = ms; left > 0; left -= stepMs) {
        clock.advance(Math.min(stepMs, left))
        await quiesce(cluster)
      }
    },
    close: async () => {
      await jobs.close()
      await app.close()
    },
  }
  t.teardown(() => world.close())
  return world
}

const resources = { cpuMillis: 4_000, memMb: 8_192, diskMb: 10_000, ports: [{ begin: 31_000, end: 31_099 }] }
const twoAgents: readonly FakeAgent[] = ['S0', 'S1'].map((name) => ({
  ...{ name, resources },
  attributes: { rack: name.toLowerCase() },
}))

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text // not JSON: /ping, or nothing
  }
}

/** Metronome's own example. */
export const summary = {
  id: 'prod.email.summary',
  description: 'Send summary every day',
  labels: { location: 'olympus' },
  run: { cmd: 'sendSummary', cpus: 0.1, mem: 32, disk: 0 },
}
