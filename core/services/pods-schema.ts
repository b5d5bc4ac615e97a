import { z } from 'zod'

const name = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'must be lower-case letters, digits and inner "-"')
const labels = z.record(z.string().min(1).max(255), z.string().max(4096)).default({})
const text = z
  .string()
  .max(131_071)
  .regex(/^[^\0]*$/, 'must not contain NUL')
const environment = z
  .record(
    z
      .string()
      .max(255)
      .regex(/^[^=\0]+$/, 'must be a name'),
    z.union([text, z.strictObject({ secret: z.string().min(1).max(255) })], {
      error: 'must be text, or {"secret": name}',
    }),
  )
  .default({})
const seconds = z.number().min(0).max(31_536_000)
const path = z
  .string()
  .min(1)
  .max(1024)
  .regex(/^[^\0]*$/, 'must not contain NUL')
const user = z.string().max(64).optional()
const command = z.union([
  z.strictObject({ shell: text.min(1) }),
  z.strictObject({ argv: z.array(text).min(1).max(1000) }),
])

const endpoint = z.strictObject({
  name,
  containerPort: z.int().min(0).max(65_535).optional(),
  hostPort: z.int().min(0).max(65_535).optional(),
  protocol: z
    .array(z.enum(['tcp', 'udp', 'http', 'https']))
    .min(1)
    .max(2)
    .default(['tcp']),
  labels,
})

const healthCheck = z.strictObject({
  http: z
    .strictObject({
      endpoint: name,
      path: z.string().max(1024).default('/'),
      scheme: z.enum(['HTTP', 'HTTPS']).default('HTTP'),
    })
    .optional(),
  tcp: z.strictObject({ endpoint: name }).optional(),
  exec: z.strictObject({ command: z.strictObject({ shell: text.min(1) }) }).optional(),
  gracePeriodSeconds: seconds.default(300),
  intervalSeconds: z.number().min(0.1).max(31_536_000).default(60),
  timeoutSeconds: z.number().min(0.1).max(31_536_000).default(20),
  maxConsecutiveFailures: z.int().min(0).max(1_000_000).default(3),
})

const container = z.strictObject({
  name,
  exec: z.strictObject({ command, overrideEntrypoint: z.boolean().optional() }),
  resources: z.strictObject({
    cpus: z.number().min(0.01).max(100_000),
    mem: z.number().min(1).max(1_000_000_000),
    disk: z.number().min(0).max(1_000_000_000).default(0),
    gpus: z.literal(0).default(0),
  }),
  endpoints: z.array(endpoint).max(100).default([]),
  image: z
    .strictObject({ kind: z.literal('DOCKER'), id: z.string().min(1).max(1024), forcePull: z.boolean().default(false) })
    .optional(),
  environment,
  user,
  healthCheck: healthCheck.optional(),
  volumeMounts: z
    .array(z.strictObject({ name, mountPath: path, readOnly: z.boolean().default(false) }))
    .max(100)
    .default([]),
  artifacts: z
    .array(
      z.strictObject({
        uri: z.string().min(1).max(4096),
        executable: z.boolean().default(false),
        extract: z.boolean().default(true),
        cache: z.boolean().default(false),
        destPath: path.optional(),
      }),
    )
    .max(100)
    .default([]),
  labels,
  lifecycle: z.strictObject({ killGracePeriodSeconds: z.number().min(0).max(86_400).optional() }).default({}),
})

/**
 * What of a pod only pods have; what it shares with apps is parsed as an app's. Source: marathon, types/pod.raml,
 * podContainer.raml.
 */
export const podSchema = z.strictObject({
  containers: z.array(container).min(1).max(50),
  volumes: z
    .array(z.strictObject({ name, host: path.optional() }))
    .max(100)
    .default([]),
  environment,
  user,
})

/** One container of a pod, defaults filled in. */
export type PodContainer = Readonly<z.output<typeof container>>
/** What of a pod only pods have, defaults filled in. */
export type PodFields = Readonly<z.output<typeof podSchema>>
