import { z } from 'zod'

const path = z
  .string()
  .min(1)
  .max(4096)
  .regex(/^[^\0]*$/, 'must not contain NUL')
  .refine((value) => !value.split('/').includes('..'), 'must not contain ".."')

/** Marathon's `container.docker`. Source: marathon, types/dockerContainer.raml. */
export const dockerSchema = z.strictObject({
  image: z
    .string()
    .max(1024)
    .regex(/^[^\s\0-][^\s\0]*$/, 'must be the name of an image, without blanks'),
  forcePullImage: z.boolean().default(false),
  privileged: z.boolean().default(false),
  parameters: z.array(z.unknown()).max(0, 'are not supported').default([]),
})

/** A path of the node, a file with one of the app's secrets, or a directory that outlives tasks. Source: marathon, types/volumes.raml. */
export const volumeSchema = z.union(
  [
    z.strictObject({
      containerPath: path,
      hostPath: path.refine((value) => value.startsWith('/'), 'must be absolute'),
      mode: z.enum(['RO', 'RW']).default('RW'),
    }),
    z.strictObject({ containerPath: path, secret: z.string().min(1).max(255) }),
    z.strictObject({
      containerPath: path,
      mode: z.literal('RW').default('RW'),
      persistent: z.strictObject({
        type: z.literal('root').default('root'),
        /** MB */
        size: z.int().min(1).max(1_000_000_000),
        constraints: z.array(z.unknown()).max(0, 'are not supported').default([]),
      }),
    }),
  ],
  {
    error:
      'must be {containerPath, hostPath, mode}, {containerPath, secret} or {containerPath, mode: RW, persistent: {type: root, size}}, without ".."',
  },
)

/** Source: marathon, types/artifact.raml. */
export const fetchSchema = z.strictObject({
  uri: z
    .string()
    .max(8192)
    .regex(/^(https?:\/\/|file:\/\/\/|\/)[^\s\0]+$/, 'must be http:, https:, file: or an absolute path of the node'),
  extract: z.boolean().default(true),
  executable: z.boolean().default(false),
  cache: z.boolean().default(false),
  destPath: path.refine((value) => !value.startsWith('/'), 'must be relative to the sandbox').optional(),
})
