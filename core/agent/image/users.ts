import { AppError } from '../../base/errors.ts'

/** Numeric identity of a process, and where its home is. */
export interface Identity {
  readonly uid: number
  readonly gid: number
  /** Absent: the data base knows no such user. */
  readonly home?: string
}

/** The user data bases of an image, as text. Source: passwd(5), group(5). */
export interface UserBases {
  readonly passwd: string
  readonly group: string
}

/**
 * `user`, `user:group`, `uid`, `uid:gid`; empty: root. A number needs no entry, its group is then 0.
 * Source: opencontainers/image-spec, config.md, User. @throws ERR_AGENT_USER for a name that the image does not have
 */
export function findIdentity(user: string, { passwd, group }: UserBases): Identity {
  const [name = '', groupName] = (user === '' ? '0' : user).split(':')
  const found = entries(passwd).find(([login, , uid]) => login === name || uid === name)
  if (found === undefined && !isNumber(name)) throw unknown('user', name, '/etc/passwd')
  const [, , uid = name, gid = '0', , home] = found ?? []
  const identity = { uid: Number(uid), ...(home === undefined || home === '' ? {} : { home }) }
  if (groupName === undefined || groupName === '') return { ...identity, gid: Number(gid) }
  const foundGroup = entries(group).find(([login, , id]) => login === groupName || id === groupName)
  if (foundGroup === undefined && !isNumber(groupName)) throw unknown('group', groupName, '/etc/group')
  return { ...identity, gid: Number(foundGroup?.[2] ?? groupName) }
}

function entries(text: string): readonly (readonly string[])[] {
  return text.split('\n').map((line) => line.split(':'))
}

function isNumber(text: string): boolean {
  return /^\d{1,9}$/.test(text)
}

function unknown(what: string, name: string, file: string): AppError {
  return new AppError('ERR_AGENT_USER', `no ${what} "${name}" in ${file} of the image: give a number, or another`)
}
