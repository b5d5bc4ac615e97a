import {
  type AgentId,
  type FrameworkId,
  type OfferId,
  parseAgentId,
  parseFrameworkId,
  parseOfferId,
} from '../model/ids.ts'

/** Ids that a master gives. Each master has a UUID of its own, so that ids of two terms never meet. */
export interface MasterIds {
  readonly masterId: string
  nextAgent(): AgentId
  nextFramework(): FrameworkId
  nextOffer(): OfferId
}

/** Source: reference/mesos-core.md, Ids: agents `<uuid>-S<n>`, frameworks `<uuid>-<4 digits>`, offers `<uuid>-O<n>`. */
export function openIds(masterId: string): MasterIds {
  let agents = 0
  let frameworks = 0
  let offers = 0
  return {
    masterId,
    nextAgent: () => parseAgentId(`${masterId}-S${agents++}`),
    nextFramework: () => parseFrameworkId(`${masterId}-${String(frameworks++).padStart(4, '0')}`),
    nextOffer: () => parseOfferId(`${masterId}-O${offers++}`),
  }
}
