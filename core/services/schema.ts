import { z } from 'zod'
import { podSchema } from './pods-schema.ts'
import { dockerSchema, fetchSchema, volumeSchema } from './schema-container.ts'

const port = z.int().min(0).max(65_535)
const noNul = /^[^\0]*$/
/** MAX_ARG_STRLEN, include/uapi/linux/binfmts.h: the longest single argument or variable of execve, with its NUL. */
const maxArgument = 131_071
const maxSeconds = 31_536_000

const text = z.string().max(maxArgument).regex(noNul, 'must not contain NUL')
const environmentName = z
  .string()
  .max(255)
  .regex(/^[^=\0]+$/, 'must be a name without "=" and NUL')
/** A variable's value, or the name of one of the app's secrets. Source: marathon, types/environmentVariable.raml. */
const variable = z.union([text, z.strictObject({ secret: z.string().min(1).max(255) })], {
  error: 'must be text, or {"secret": name}',
})
/** Where a secret is: a path below the master's directory of secrets. */
const secretSource = z
  .string()
  .max(255)
  .regex(/^\/?[\w-][\w.-]*(\/[\w-][\w.-]*)*$/, 'must be a path of letters, digits, "_", "-" and inner "."')
const labels = z.record(z.string().min(1).max(255), z.string().max(4096))
const seconds = z.number().min(0).max(maxSeconds)
const protocol = z.enum(['tcp', 'udp', 'udp,tcp', 'tcp,udp']).default('tcp')
const portName = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'must be lower-case letters, digits and inner "-"')

const network = z.strictObject({
  mode: z.enum(['host', 'container', 'container/bridge']).default('container'),
  name: z.string().max(255).optional(),
  labels: labels.default({}),
})

const portMapping = z.strictObject({
  containerPort: port.default(0),
  hostPort: port.optional(),
  servicePort: port.default(0),
  protocol,
  name: portName.optional(),
  labels: labels.default({}),
  networkNames: z.array(z.string()).max(16).default([]),
})

const portDefinition = z.strictObject({
  port: port.default(0),
  protocol,
  name: portName.optional(),
  labels: labels.default({}),
})

const healthCheck = z.strictObject({
  protocol: z.enum(['HTTP', 'HTTPS', 'TCP', 'COMMAND', 'MESOS_HTTP', 'MESOS_HTTPS', 'MESOS_TCP']).default('HTTP'),
  path: z
    .string()
    .max(1024)
    .regex(/^\/[\x21-\x7e]*$/, 'must start with "/" and have no blanks')
    .optional(),
  command: z.strictObject({ value: text.min(1) }).optional(),
  port: z.int().min(1).max(65_535).optional(),
  portIndex: z.int().min(0).max(99).optional(),
  gracePeriodSeconds: seconds.default(300),
  intervalSeconds: z.number().min(0.1).max(maxSeconds).default(60),
  timeoutSeconds: z.number().min(0.1).max(maxSeconds).default(20),
  maxConsecutiveFailures: z.int().min(0).max(1_000_000).default(3),
})

const container = z.strictObject({
  /** MESOS: by the OCI runtime of the agent; DOCKER: by a Docker Engine beside it. */
  type: z.enum(['MESOS', 'DOCKER']).default('MESOS'),
  docker: dockerSchema.optional(),
  volumes: z.array(volumeSchema).max(100).default([]),
  portMappings: z.array(portMapping).max(100).default([]),
})

/** Marathon's default for what has no volumes of its own: replaced, and forgotten, as soon as it is unreachable. */
const replaceAtOnce = { inactiveAfterSeconds: 0, expungeAfterSeconds: 0 } as const
const unreachable = z.strictObject({
  inactiveAfterSeconds: seconds.default(300),
  expungeAfterSeconds: seconds.default(600),
})

const constraintList = z
  .array(z.array(z.string().max(255)).min(2).max(3))
  .max(32)
  .default([])

/**
 * Fields of an app that this version has, in Marathon's JSON shape, with Marathon's defaults. Source:
 * reference/services-and-jobs.md. Ranges are those that the resource model and the kernel can hold.
 */
export const appSchema = z.strictObject({
  /** Of a pod: what an app does not have. Only `parsePod` puts it there. */
  pod: podSchema.optional(),
  id: z.string(),
  cmd: text.min(1).optional(),
  args: z.array(text).min(1).max(1000).optional(),
  user: z
    .string()
    .max(64)
    .regex(/^[A-Za-z0-9_][\w.-]*$/, 'must be a user name or number')
    .optional(),
  instances: z.int().min(0).max(100_000).default(1),
  cpus: z.number().min(0.01).max(100_000).default(1),
  mem: z.number().min(1).max(1_000_000_000).default(128),
  disk: z.number().min(0).max(1_000_000_000).default(0),
  env: z.record(environmentName, variable).default({}),
  secrets: z
    .record(z.string().min(1).max(255), z.strictObject({ source: secretSource }))
    .refine((value) => Object.keys(value).length <= 100, 'at most 100')
    .default({}),
  labels: labels.default({}),
  networks: z.array(network).max(16).default([]),
  container: container.optional(),
  fetch: z.array(fetchSchema).max(100).default([]),
  portDefinitions: z.array(portDefinition).max(100).optional(),
  requirePorts: z.boolean().default(false),
  healthChecks: z.array(healthCheck).default([]),
  backoffSeconds: seconds.default(1),
  backoffFactor: z.number().min(1).max(1000).default(1.15),
  maxLaunchDelaySeconds: seconds.default(300),
  taskKillGracePeriodSeconds: z.number().min(0).max(86_400).default(3),
  upgradeStrategy: z
    .strictObject({
      minimumHealthCapacity: z.number().min(0).max(1).default(1),
      maximumOverCapacity: z.number().min(0).max(1).default(1),
    })
    .default({ minimumHealthCapacity: 1, maximumOverCapacity: 1 }),
  killSelection: z.enum(['YOUNGEST_FIRST', 'OLDEST_FIRST']).default('YOUNGEST_FIRST'),
  unreachableStrategy: z.union([z.literal('disabled'), unreachable]).default(replaceAtOnce),
  acceptedResourceRoles: z.array(z.string()).min(1).max(2).default(['*']),
  /** Of an app with persistent volumes. Source: marathon, types/residency.raml. */
  residency: z
    .strictObject({
      relaunchEscalationTimeoutSeconds: z.int().min(0).max(maxSeconds).default(3600),
      taskLostBehavior: z.enum(['WAIT_FOREVER', 'RELAUNCH_AFTER_TIMEOUT']).default('WAIT_FOREVER'),
    })
    .optional(),
  constraints: constraintList,
  /** Apps and groups, relative to the app's group; absolute once checked. */
  dependencies: z.array(z.string().min(1).max(255)).max(100).default([]),
})

/** One port mapping of an app, defaults filled in. */
export type PortMappingDefinition = Readonly<z.output<typeof portMapping>>
/** One health check of an app, defaults filled in. */
export type HealthCheckDefinition = Readonly<z.output<typeof healthCheck>>
/** An app as it was checked: Marathon's JSON shape with every default filled in. */
export type AppFields = Readonly<z.output<typeof appSchema>>
