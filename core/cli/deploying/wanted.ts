import { AppError } from '../../base/errors.ts'
import { isRecord } from '../api.ts'
import { type Definition, type FilePlace } from '../definition-file.ts'

/** One app, group or pod of a file. */
export interface WantedItem {
  readonly kind: 'app' | 'group' | 'pod'
  readonly body: unknown
  /** Where a field of it stands in the file; the path as problems have it: `/container/portMappings(0)/name`. */
  placeOf(path: string): FilePlace
}

/** What a file asks for, by shape: `apps` or `groups` make a group, `containers` a pod, a list is several. */
export function wantedOf(definitions: readonly Definition[]): readonly WantedItem[] {
  return definitions.flatMap((definition) => {
    const { value } = definition
    return Array.isArray(value)
      ? value.map((body: unknown, i) => itemOf(body, definition, [i]))
      : [itemOf(value, definition, [])]
  })
}

function itemOf(body: unknown, definition: Definition, prefix: readonly (string | number)[]): WantedItem {
  const kind = kindOf(body)
  return { kind, body, placeOf: (path) => definition.placeOf([...prefix, ...parsePath(path)]) }
}

/** @throws ERR_CLI_USAGE for a job */
function kindOf(body: unknown): WantedItem['kind'] {
  if (!isRecord(body)) return 'app'
  if ('run' in body) throw new AppError('ERR_CLI_USAGE', `${String(body['id'])} is a job: use weft job add`)
  if (Array.isArray(body['apps']) || Array.isArray(body['groups'])) return 'group'
  return Array.isArray(body['containers']) ? 'pod' : 'app'
}

/** `/container/portMappings(0)/labels(VIP_0)` → `['container', 'portMappings', 0, 'labels', 'VIP_0']`. */
export function parsePath(path: string): readonly (string | number)[] {
  return [...path.matchAll(/\/([^/(]+)|\(([^)]*)\)/g)].map(([, key, index = '']) => {
    if (key !== undefined) return key
    return /^\d+$/.test(index) ? Number(index) : index
  })
}

/** The path of an id below `/v2/apps` and the like. @throws ERR_CLI_USAGE */
export function idPath(kind: 'apps' | 'groups' | 'pods', id: unknown): string {
  const path = typeof id === 'string' ? id.replace(/^\/+|\/+$/g, '') : ''
  if (path === '') throw new AppError('ERR_CLI_USAGE', `give an id like /web: it is the path below /v2/${kind}`)
  return `/v2/${kind}/${path.split('/').map(encodeURIComponent).join('/')}`
}
