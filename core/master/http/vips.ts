import { type FastifyInstance } from 'fastify'
import { z } from 'zod'
import { parseIp } from '../../base/ip.ts'
import { vipKey } from '../../model/vip.ts'
import { type MasterContext } from '../context.ts'
import { decideReleaseVip, decideReserveVip } from '../networks/reserve-vip.ts'
import { stateOfVip } from '../networks/vips.ts'
import { parsedBy } from './networks.ts'

const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
const reservation = z.strictObject({
  name: z.string().regex(label, 'must be 1 to 63 lower-case letters, digits and inner "-"'),
  framework: z
    .string()
    .regex(/^[A-Za-z0-9][\w.-]{0,254}$/, 'must be the name of a framework, like marathon')
    .default('marathon'),
  addresses: z.array(parsedBy(parseIp)).max(2).default([]),
})

/**
 * `/weft/v1/vips`: those that tasks are behind now (`vips`, as the snapshot has them) and all that have an address (`all`);
 * reserve one, release one.
 */
export function vipRoutes(app: FastifyInstance, { context }: { readonly context: MasterContext }): void {
  const { registrar, keeper, profile, vipUse } = context
  app.get('/weft/v1/vips', async () => ({
    vips: [...keeper.vips.values.values()],
    all: [...registrar.state.vips].map(([key, vip]) => ({ ...vip, state: stateOfVip(key, vip, vipUse()) })),
  }))
  app.post('/weft/v1/vips', async ({ body }, reply) => {
    const wish = reservation.parse(body)
    await registrar.apply(decideReserveVip(profile, wish, vipUse()))
    return reply.code(201).send(registrar.state.vips.get(vipKey(wish.name, wish.framework)))
  })
  app.delete<{ Params: { key: string } }>('/weft/v1/vips/:key', async ({ params: { key } }) => {
    await registrar.apply(decideReleaseVip(key, vipUse()))
    const left = registrar.state.vips.get(key)
    return left === undefined ? { name: key, state: 'forgotten' } : { ...left, state: stateOfVip(key, left, vipUse()) }
  })
}
