import { z } from 'zod'

/**
 * Messages of mesos.proto as JSON has them, as far as Weft reads them; what else there is stays in the value, so that readers
 * can refuse it. Source: mesos, include/mesos/v1/mesos.proto and scheduler.proto.
 */
export const idValue = z.looseObject({ value: z.string() })

const maxInt = Number.MAX_SAFE_INTEGER

/** 64-bit numbers may be text in the JSON of protobuf. */
export const integer = z.union([
  z.number().int().min(-maxInt).max(maxInt),
  z
    .string()
    .regex(/^-?\d{1,15}$/)
    .transform(Number),
])

const natural = z.number().int().min(0).max(maxInt)
const port = z.number().int().min(0).max(65_535)

/** Octets in base64, as protobuf's JSON has them; the alphabet of URLs too. */
export const base64Text = z.string().regex(/^[A-Za-z0-9+/_-]*={0,2}$/, 'is not base64')

/** Labels: a list of pairs; one without a value is empty. */
export const labelsWire = z.looseObject({
  labels: z.array(z.looseObject({ key: z.string(), value: z.string().default('') })).default([]),
})

/** DurationInfo and TimeInfo. */
export const nanoseconds = z.looseObject({ nanoseconds: integer })

const reservationWire = z.looseObject({
  type: z.enum(['STATIC', 'DYNAMIC', 'UNKNOWN']).optional(),
  role: z.string().optional(),
  principal: z.string().optional(),
  labels: labelsWire.optional(),
})

/** Message Resource. */
export const resourceWire = z.looseObject({
  name: z.string(),
  type: z.enum(['SCALAR', 'RANGES', 'SET', 'TEXT']).optional(),
  scalar: z.looseObject({ value: z.number() }).optional(),
  ranges: z.looseObject({ range: z.array(z.looseObject({ begin: integer, end: integer })).default([]) }).optional(),
  role: z.string().optional(),
  reservation: reservationWire.optional(),
  reservations: z.array(reservationWire).default([]),
  disk: z
    .looseObject({
      persistence: z.looseObject({ id: z.string(), principal: z.string().optional() }).optional(),
      volume: z.looseObject({ container_path: z.string(), mode: z.string().optional() }).optional(),
    })
    .optional(),
})

/** Message CommandInfo. */
export const commandWire = z.looseObject({
  shell: z.boolean().default(true),
  value: z.string().default(''),
  arguments: z.array(z.string()).default([]),
  user: z.string().optional(),
  environment: z
    .looseObject({
      variables: z
        .array(z.looseObject({ name: z.string(), value: z.string().optional(), type: z.string().optional() }))
        .default([]),
    })
    .optional(),
  uris: z
    .array(
      z.looseObject({
        value: z.string(),
        executable: z.boolean().default(false),
        extract: z.boolean().default(true),
        cache: z.boolean().default(false),
        output_file: z.string().optional(),
      }),
    )
    .default([]),
})

const portMappingWire = z.looseObject({ host_port: port, container_port: port, protocol: z.string().default('tcp') })

const networkInfoWire = z.looseObject({
  name: z.string().optional(),
  labels: labelsWire.optional(),
  ip_addresses: z.array(z.looseObject({ ip_address: z.string().optional() })).default([]),
  port_mappings: z.array(portMappingWire).default([]),
})

const volumeWire = z.looseObject({
  container_path: z.string(),
  mode: z.enum(['RW', 'RO']).default('RW'),
  host_path: z.string().optional(),
  source: z
    .looseObject({
      type: z.string().optional(),
      host_path: z.looseObject({ path: z.string() }).optional(),
      sandbox_path: z.looseObject({ type: z.string().optional(), path: z.string() }).optional(),
      secret: z.looseObject({ value: z.looseObject({ data: base64Text }).optional() }).optional(),
    })
    .optional(),
})

const imageWire = z.looseObject({
  type: z.string().optional(),
  cached: z.boolean().default(true),
  docker: z.looseObject({ name: z.string() }).optional(),
})

/** Message ContainerInfo. */
export const containerWire = z.looseObject({
  type: z.enum(['MESOS', 'DOCKER']),
  volumes: z.array(volumeWire).default([]),
  network_infos: z.array(networkInfoWire).default([]),
  mesos: z.looseObject({ image: imageWire.optional() }).optional(),
  docker: z
    .looseObject({
      image: z.string(),
      network: z.enum(['HOST', 'BRIDGE', 'NONE', 'USER']).default('HOST'),
      port_mappings: z.array(portMappingWire).default([]),
      privileged: z.boolean().default(false),
      force_pull_image: z.boolean().default(false),
    })
    .optional(),
})

/** Message HealthCheck. */
export const healthCheckWire = z.looseObject({
  type: z.enum(['COMMAND', 'HTTP', 'TCP', 'UNKNOWN']).optional(),
  http: z.looseObject({ scheme: z.string().optional(), port, path: z.string().default('/') }).optional(),
  tcp: z.looseObject({ port }).optional(),
  command: commandWire.optional(),
  delay_seconds: z.number().min(0).default(15),
  interval_seconds: z.number().min(0).default(10),
  timeout_seconds: z.number().min(0).default(20),
  consecutive_failures: natural.default(3),
  grace_period_seconds: z.number().min(0).default(10),
})

/** Message DiscoveryInfo. */
export const discoveryWire = z.looseObject({
  visibility: z.enum(['FRAMEWORK', 'CLUSTER', 'EXTERNAL']),
  name: z.string().optional(),
  ports: z
    .looseObject({
      ports: z
        .array(
          z.looseObject({
            number: port,
            name: z.string().optional(),
            protocol: z.string().default('tcp'),
            labels: labelsWire.optional(),
          }),
        )
        .default([]),
    })
    .optional(),
})

/** Message ExecutorInfo. */
export const executorWire = z.looseObject({
  type: z.enum(['UNKNOWN', 'DEFAULT', 'CUSTOM']).default('CUSTOM'),
  executor_id: idValue,
  name: z.string().default(''),
  command: commandWire.optional(),
  container: containerWire.optional(),
  resources: z.array(resourceWire).default([]),
  shutdown_grace_period: nanoseconds.optional(),
  labels: labelsWire.optional(),
})

/** Message TaskInfo. */
export const taskWire = z.looseObject({
  name: z.string(),
  task_id: idValue,
  agent_id: idValue,
  resources: z.array(resourceWire).default([]),
  executor: executorWire.optional(),
  command: commandWire.optional(),
  container: containerWire.optional(),
  health_check: healthCheckWire.optional(),
  discovery: discoveryWire.optional(),
  kill_policy: z.looseObject({ grace_period: nanoseconds.optional() }).optional(),
  data: base64Text.optional(),
  labels: labelsWire.optional(),
})

/** Message FrameworkInfo. */
export const frameworkWire = z.looseObject({
  user: z.string(),
  name: z.string(),
  id: idValue.optional(),
  failover_timeout: z.number().default(0),
  checkpoint: z.boolean().optional(),
  role: z.string().optional(),
  roles: z.array(z.string()).default([]),
  hostname: z.string().default(''),
  principal: z.string().optional(),
  webui_url: z.string().optional(),
  capabilities: z.array(z.looseObject({ type: z.string().optional() })).default([]),
  labels: labelsWire.optional(),
})

/** What a schema above reads. */
export type Wire<Schema extends z.ZodType> = z.infer<Schema>
