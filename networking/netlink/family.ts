/** Numbers that several rtnetlink messages share. Sources: include/linux/socket.h, include/uapi/linux/rtnetlink.h. */

/** AF_INET and AF_INET6. */
export const familyNumber = { 4: 2, 6: 10 } as const

/** AF_BRIDGE: forwarding entries instead of IP neighbours. */
export const AF_BRIDGE = 7

/** RT_SCOPE_* */
export const scopeNumber = { global: 0, link: 253, host: 254 } as const

/** RT_SCOPE_NOWHERE: in a deletion, any scope. */
export const RT_SCOPE_NOWHERE = 255

/** The name of a scope; site-local and unnamed ones count as global. */
export function scopeName(scope: number): keyof typeof scopeNumber {
  if (scope === scopeNumber.link) return 'link'
  return scope === scopeNumber.host ? 'host' : 'global'
}
