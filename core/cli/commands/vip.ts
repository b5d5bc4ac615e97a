import { AppError } from '../../base/errors.ts'
import { isRecord } from '../api.ts'
import { print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { targetApi } from './target.ts'
import { vipDomain as domain } from './vip-show.ts'

const path = '/weft/v1/vips'

/** Options of `weft vip create`. */
export interface CreateVipOptions {
  readonly address: readonly string[]
}

/** `weft vip create NAME.FRAMEWORK`: its addresses are nobody else's from now on. */
export async function createVip(globals: GlobalOptions & CreateVipOptions, key: string): Promise<void> {
  const [, name, framework] = /^([^.]*)\.(.+)$/.exec(key.replace(`.${domain}`, '')) ?? []
  if (name === undefined || framework === undefined) {
    throw new AppError('ERR_CLI_USAGE', `"${key}" is not NAME.FRAMEWORK, like web.marathon`)
  }
  const { body } = await targetApi(globals).send('POST', path, { name, framework, addresses: globals.address })
  const addresses = isRecord(body) ? String(body['addresses']) : ''
  print(body, () => `VIP ${name}.${framework} has ${addresses}, whether or not tasks are behind it`, globals)
}

/** `weft vip remove NAME.FRAMEWORK`: the reservation ends and the address rests; again: it is free at once. */
export async function removeVip(globals: GlobalOptions, key: string): Promise<void> {
  const plain = key.replace(`.${domain}`, '')
  const { body } = await targetApi(globals).send('DELETE', `${path}/${encodeURIComponent(plain)}`)
  const state = isRecord(body) ? body['state'] : undefined
  const resting = 'rests for some minutes before another name may get its address; remove it again to free that now'
  print(body, () => `VIP ${plain} ${state === 'forgotten' ? 'is removed' : resting}`, globals)
}
