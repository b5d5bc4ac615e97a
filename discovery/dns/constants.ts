/** Classes. RFC 1035 §3.2.4, RFC 2136 (NONE). */
export const dnsClass = { IN: 1, CH: 3, HS: 4, NONE: 254, ANY: 255 } as const

/** Operation codes. RFC 1035 §4.1.1, RFC 1996, RFC 2136. */
export const opcode = { QUERY: 0, IQUERY: 1, STATUS: 2, NOTIFY: 4, UPDATE: 5 } as const

/** Response codes; from 16 on they need EDNS. RFC 1035 §4.1.1, RFC 6891 §9. */
export const rcode = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  YXDOMAIN: 6,
  YXRRSET: 7,
  NXRRSET: 8,
  NOTAUTH: 9,
  NOTZONE: 10,
  BADVERS: 16,
} as const

/** Types that are asked for, or travel beside data, without being data themselves. RFC 6895 §3.1. */
export const metaType = {
  OPT: 41,
  TKEY: 249,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  MAILB: 253,
  MAILA: 254,
  ANY: 255,
} as const

/** Octets of a message header. RFC 1035 §4.1.1. */
export const headerBytes = 12

/** Largest UDP message without EDNS. RFC 1035 §4.2.1. */
export const plainUdpBytes = 512

/** Largest message over TCP: its length prefix has 16 bits. RFC 1035 §4.2.2. */
export const maxMessageBytes = 65535
