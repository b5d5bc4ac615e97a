import { parsePolicyPorts, parseSelector, type Policy } from '../../core/model/policy.ts'

/** What a test says of a policy: selectors and ports as people write them; the rest is usual. */
export interface TestPolicy extends Partial<Pick<Policy, 'priority' | 'action' | 'protocol' | 'direction'>> {
  readonly from: string
  readonly to: string
  readonly ports?: readonly string[]
}

/** A policy of a test: allows, of priority 1000. */
export function testPolicy(name: string, { from, to, ports = [], ...rest }: TestPolicy): Policy {
  return {
    name,
    priority: 1000,
    action: 'allow',
    protocol: 'any',
    direction: 'forward',
    ...rest,
    from: parseSelector(from),
    to: parseSelector(to),
    ports: ports.map(parsePolicyPorts),
  }
}
