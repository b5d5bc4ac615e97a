import { noResources } from '../../../model/resources.ts'
import { type RoleUse } from '../../allocator/allocator.ts'
import { type QuotaLimits } from '../../allocator/quota.ts'
import { type Scalars } from '../../allocator/sorter.ts'
import { type MasterContext } from '../../context.ts'
import { roles } from '../../reservations/roles.ts'
import { formatAmounts } from './amounts.ts'

/** `/roles`. Source: mesos, docs/endpoints/master/roles.md. */
export function rolesDocument(context: MasterContext): object {
  return { roles: [...roles(context)].map(([name, use]) => formatRole(name, use)) }
}

function formatRole(name: string, use: RoleUse) {
  const allocated = formatAmounts({ ...noResources, ...use.allocated })
  return {
    name,
    weight: use.weight,
    frameworks: use.frameworks,
    resources: allocated,
    allocated,
    ...(use.limits && {
      quota: { role: name, limit: formatLimits(use.limits), consumed: formatScalars(use.consumed) },
    }),
  }
}

/** Amounts by Mesos's names. */
export function formatScalars({ cpuMillis, memMb, diskMb }: Scalars) {
  return { cpus: cpuMillis / 1000, mem: memMb, disk: diskMb }
}

/** Only what is limited. */
export function formatLimits({ cpuMillis, memMb, diskMb }: QuotaLimits) {
  return {
    ...(cpuMillis === undefined ? {} : { cpus: cpuMillis / 1000 }),
    ...(memMb === undefined ? {} : { mem: memMb }),
    ...(diskMb === undefined ? {} : { disk: diskMb }),
  }
}
