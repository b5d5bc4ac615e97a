import { type FastifyInstance } from 'fastify'
import { z } from 'zod'
import { parseCidr } from '../../base/cidr.ts'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type NetworkName, parseNetworkName } from '../../model/ids.ts'
import { type MasterContext } from '../context.ts'
import { decideCreateNetwork, decideRemoveNetwork, type NetworkWish, unknownNetwork } from '../networks/networks.ts'
import { leasesSettled, networkUsers } from '../networks/users.ts'
import { networkView } from './views.ts'

/** What the routes of networks work with. */
export interface NetworkRoutesOptions {
  readonly context: MasterContext
  /** Ids of the apps whose definition names the network; they use it also while they have no instance. */
  readonly appsOf?: (network: NetworkName) => readonly string[]
}

/** Text that a parser of the model takes; its error becomes the field's: ERR_MODEL_… never gets out. */
export function parsedBy<T>(parse: (text: string) => T) {
  return z.string().transform((text, refinement) => {
    try {
      return parse(text)
    } catch (error) {
      refinement.addIssue({ code: 'custom', message: errorMessage(error) })
      return z.NEVER
    }
  })
}

const networkName = parsedBy(parseNetworkName)
const networkBody = z.strictObject({
  name: networkName,
  subnets: z.array(parsedBy(parseCidr)).min(1).max(2).optional(),
  /** RFC 7348 section 5: 24 bits. */
  vni: z
    .int()
    .min(1)
    .max(2 ** 24 - 1)
    .optional(),
})

/** `/weft/v1/networks`: list, show, create, remove. */
export function networkRoutes(app: FastifyInstance, options: NetworkRoutesOptions): void {
  const { context } = options
  const { registrar } = context
  const find = (name: NetworkName) => {
    const network = registrar.state.networks.get(name)
    if (network === undefined) throw unknownNetwork(name)
    return network
  }
  app.get('/weft/v1/networks', async () => ({
    networks: [...registrar.state.networks.values()].map((network) => networkView(context, network)),
  }))
  app.get<{ Params: { name: string } }>('/weft/v1/networks/:name', async ({ params }) =>
    networkView(context, find(networkName.parse(params.name))),
  )
  app.post('/weft/v1/networks', async ({ body }, reply) => {
    const { name, subnets, vni } = networkBody.parse(body)
    const wish: NetworkWish = { name, ...(subnets && { subnets }), ...(vni !== undefined && { vni }) }
    await registrar.apply(decideCreateNetwork(context.profile, wish))
    const version = context.keeper.flush()
    return reply.code(201).send({ ...networkView(context, find(name)), version })
  })
  app.delete<{ Params: { name: string } }>('/weft/v1/networks/:name', async ({ params, raw }, reply) => {
    const name = networkName.parse(params.name)
    find(name)
    const gone = new AbortController()
    raw.socket.once('close', () => gone.abort())
    await removeNetwork(options, name, { signal: gone.signal })
    return reply.code(200).send({ version: context.keeper.flush() })
  })
}

/** Addresses of tasks that have just ended are waited for; users are looked for again when the decision is made. */
async function removeNetwork(
  { context, appsOf = () => [] }: NetworkRoutesOptions,
  name: NetworkName,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const refuse = (withLeases: 'leases' | 'no-leases') => {
    const users = networkUsers(context, name, appsOf(name))
    const found = [...users.named, ...(withLeases === 'leases' ? users.leases : [])]
    if (found.length === 0) return
    const shown = found.slice(0, 10).join(', ')
    const more = found.length > 10 ? ` and ${found.length - 10} more` : ''
    throw new AppError(
      'ERR_MASTER_NETWORK_IN_USE',
      `network "${name}" is in use by ${shown}${more}: remove them first`,
      {
        details: { users: found },
      },
    )
  }
  refuse('no-leases')
  await leasesSettled(context, name, { signal })
  await context.registrar.apply((state) => {
    refuse('leases')
    return decideRemoveNetwork(name)(state)
  })
}
