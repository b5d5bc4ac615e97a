import { errorMessage } from '../../base/errors.ts'
import { type VipSpec } from '../../model/vip.ts'
import { type MasterContext } from '../context.ts'
import { checkVips } from './vips.ts'

/** Why tasks of the framework can't be behind the VIP now; undefined when they can. */
export function vipProblem(
  { profile, registrar, vipUse }: Pick<MasterContext, 'profile' | 'registrar' | 'vipUse'>,
  vip: VipSpec,
  framework: string,
): string | undefined {
  try {
    checkVips(profile, registrar.state, { vips: [vip], framework, use: vipUse() })
    return undefined
  } catch (error) {
    return errorMessage(error) // ERR_MASTER_VIP_ADDRESS, ERR_MASTER_VIPS_EXHAUSTED: the message says what to do
  }
}
