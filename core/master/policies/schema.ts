import { z } from 'zod'
import { parseCidr } from '../../base/cidr.ts'
import { errorMessage } from '../../base/errors.ts'
import { parseNetworkName } from '../../model/ids.ts'
import {
  defaultPolicyPriority,
  formatPolicyPorts,
  formatSelector,
  parsePolicyName,
  parsePolicyPorts,
  parseSelector,
  type Policy,
} from '../../model/policy.ts'

/** A reader of the model as a step of a schema: what it throws becomes an issue at that path. */
function parsedBy<T>(parse: (text: string) => T) {
  return z.string().transform(checkedBy(parse))
}

function checkedBy<T>(parse: (text: string) => T) {
  return (value: string | number, refinement: z.RefinementCtx): T => {
    try {
      return parse(String(value))
    } catch (error) {
      refinement.addIssue({ code: 'custom', message: errorMessage(error) })
      return z.NEVER
    }
  }
}

const port = z.int().min(1).max(65_535)
const priority = z.int().min(0).max(65_535)
const action = z.enum(['allow', 'deny'])
const protocol = z.enum(['any', 'tcp', 'udp', 'icmp'])
const direction = z.enum(['forward', 'both'])

/** Most port ranges of one policy. */
const maxPorts = 64

/** 80, "80" or "8000-8100". */
const onePort = z.union([z.number(), z.string()]).transform(checkedBy(parsePolicyPorts))

/** A policy as people write it: selectors and ports are texts, all but name, action, from and to may be left out. */
export const policyBody = z
  .strictObject({
    name: parsedBy(parsePolicyName),
    priority: priority.default(defaultPolicyPriority),
    action,
    from: parsedBy(parseSelector),
    to: parsedBy(parseSelector),
    protocol: protocol.default('any'),
    ports: z.array(onePort).max(maxPorts).default([]),
    direction: direction.default('forward'),
  })
  .superRefine(({ ports, protocol: named }, refinement) => {
    if (ports.length === 0 || named === 'tcp' || named === 'udp') return
    refinement.addIssue({ code: 'custom', path: ['ports'], message: 'ports need the protocol tcp or udp' })
  })

const storedSelector = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('any') }),
  z.object({ kind: z.literal('network'), network: parsedBy(parseNetworkName) }),
  z.object({ kind: z.literal('label'), key: z.string(), value: z.string() }),
  z.object({ kind: z.literal('task'), task: z.string() }),
  z.object({ kind: z.literal('cidr'), cidr: parsedBy(parseCidr) }),
])

/** A policy as the registry keeps it: the model's own shape. */
export const storedPolicy = z.object({
  name: parsedBy(parsePolicyName),
  priority,
  action,
  from: storedSelector,
  to: storedSelector,
  protocol,
  ports: z.array(z.object({ begin: port, end: port })),
  direction,
})

/** A policy as people read it: the inverse of {@link policyBody}. */
export function policyView({ from, to, ports, ...rest }: Policy) {
  return { ...rest, from: formatSelector(from), to: formatSelector(to), ports: ports.map(formatPolicyPorts) }
}
