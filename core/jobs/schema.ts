import { z } from 'zod'

const noNul = /^[^\0]*$/
/** MAX_ARG_STRLEN, include/uapi/linux/binfmts.h: the longest single argument or variable of execve, with its NUL. */
const maxArgument = 131_071
const maxSeconds = 31_536_000

const text = z.string().max(maxArgument).regex(noNul, 'must not contain NUL')
const labels = z.record(z.string().min(1).max(255), z.string().max(4096))
const environmentName = z
  .string()
  .max(255)
  .regex(/^[^=\0]+$/, 'must be a name without "=" and NUL')

const network = z.strictObject({
  mode: z.enum(['host', 'container', 'container/bridge']).default('container'),
  name: z.string().max(255).optional(),
  labels: labels.default({}),
})

const artifact = z.strictObject({
  uri: z.string().min(1).max(4096),
  executable: z.boolean().default(false),
  extract: z.boolean().default(true),
  cache: z.boolean().default(false),
})

const volume = z.strictObject({
  containerPath: z.string().min(1).max(4096).regex(noNul, 'must not contain NUL'),
  hostPath: z
    .string()
    .max(4096)
    .regex(/^\/[^\0]*$/, 'must be an absolute path'),
  mode: z.enum(['RO', 'RW']).default('RO'),
})

const docker = z.strictObject({
  image: z.string().min(1).max(4096),
  forcePullImage: z.boolean().default(false),
  privileged: z.boolean().default(false),
})

const ucr = z.strictObject({
  image: z.strictObject({
    id: z.string().min(1).max(4096),
    kind: z.enum(['docker']).default('docker'),
    forcePull: z.boolean().default(false),
  }),
})

const constraint = z.strictObject({
  attribute: z.string().min(1).max(255),
  operator: z.enum(['IS', 'EQ', 'LIKE', 'UNLIKE']),
  value: z.string().max(255).optional(),
})

const run = z.strictObject({
  cmd: text.min(1).optional(),
  args: z.array(text).min(1).max(1000).optional(),
  cpus: z.number().min(0.01).max(100_000).default(1),
  mem: z.number().min(32).max(1_000_000_000).default(128),
  disk: z.number().min(0).max(1_000_000_000).default(0),
  gpus: z.literal(0, 'must be 0: there are no GPUs to be had').default(0),
  user: z
    .string()
    .max(64)
    .regex(/^[A-Za-z0-9_][\w.-]*$/, 'must be a user name or number')
    .optional(),
  env: z.record(environmentName, text).default({}),
  placement: z.strictObject({ constraints: z.array(constraint).max(32).default([]) }).default({ constraints: [] }),
  artifacts: z.array(artifact).max(100).default([]),
  networks: z.array(network).max(16).default([]),
  maxLaunchDelay: z.int().min(1).max(maxSeconds).default(3600),
  taskKillGracePeriodSeconds: z.number().min(0).max(86_400).default(3),
  docker: docker.optional(),
  ucr: ucr.optional(),
  volumes: z.array(volume).max(100).default([]),
  restart: z
    .strictObject({
      policy: z.enum(['NEVER', 'ON_FAILURE']).default('NEVER'),
      activeDeadlineSeconds: z.int().min(1).max(maxSeconds).optional(),
    })
    .default({ policy: 'NEVER' }),
})

/**
 * Fields of a job that this version has, in Metronome's JSON shape, with its defaults.
 * Source: metronome, jobspec.schema.json and JobRunSpec.
 */
export const jobSchema = z.strictObject({
  id: z.string(),
  description: z.string().max(4096).optional(),
  labels: labels.default({}),
  dependencies: z
    .array(z.strictObject({ id: z.string() }))
    .max(100)
    .default([]),
  run,
})

/** Fields of a schedule. Source: metronome, schedulespec.schema.json. */
export const scheduleSchema = z.strictObject({
  id: z.string(),
  cron: z.string().max(255),
  timezone: z.string().max(255).default('UTC'),
  startingDeadlineSeconds: z.int().min(1).max(maxSeconds).default(900),
  concurrencyPolicy: z.enum(['ALLOW', 'FORBID']).default('ALLOW'),
  enabled: z.boolean().default(true),
})

/** A job as it was checked, every default filled in. */
export type JobFields = Readonly<z.output<typeof jobSchema>>
/** A schedule as it was checked. */
export type ScheduleFields = Readonly<z.output<typeof scheduleSchema>>
