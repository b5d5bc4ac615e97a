import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../../base/errors.ts'
import { writeDurably } from '../identity.ts'
import { type ImageConfig, parseImageConfig } from './config.ts'
import { type StoredImage } from './plan.ts'

/** An image that is ready to be a lower layer. */
export interface ReadyImage {
  /** Names its folder: hexadecimal digits. */
  readonly key: string
  /** Never written to. */
  readonly rootfs: string
  readonly config: ImageConfig
}

/**
 * Images on disk: `KEY/rootfs` and `KEY/image.json`; `names/HASH` says which key a name stood for when it was last
 * asked. A folder appears whole, by a rename.
 */
export interface ImageFiles {
  find(key: string): ReadyImage | undefined
  /** Key that a name stood for; undefined: never pulled. */
  keyOf(name: string): string | undefined
  /** An empty folder to make an image in. */
  begin(): string
  /** Puts `work` (with its `rootfs`) in place. */
  commit(
    work: string,
    image: { readonly key: string; readonly config: ImageConfig; readonly sizeBytes: number },
  ): ReadyImage
  remember(name: string, key: string): void
  list(inUse: ReadonlySet<string>): readonly StoredImage[]
  /** Out of the way at once; its content goes in the background. */
  remove(key: string): void
}

/** Opens a folder of images, and removes what an earlier agent left half done. */
export function openImageFiles(dir: string): ImageFiles {
  const [names, work, trash] = [join(dir, 'names'), join(dir, 'work'), join(dir, 'trash')]
  for (const path of [work, trash]) rmSync(path, { recursive: true, force: true })
  for (const path of [dir, names, work, trash]) mkdirSync(path, { recursive: true, mode: 0o700 })
  const nameFile = (name: string) => join(names, createHash('sha256').update(name).digest('hex'))
  const find = (key: string): ReadyImage | undefined => {
    const config = readText(join(dir, key, 'image.json'))
    if (config === undefined) return undefined
    const nowSeconds = Date.now() / 1000
    utimesSync(join(dir, key, 'image.json'), nowSeconds, nowSeconds)
    return { key, rootfs: join(dir, key, 'rootfs'), config: parseImageConfig(JSON.parse(config)) }
  }
  return {
    find,
    keyOf: (name) => readText(nameFile(name)),
    begin: () => {
      const path = join(work, randomBytes(8).toString('hex'))
      mkdirSync(path, { mode: 0o700 })
      return path
    },
    commit: (from, { key, config, sizeBytes }) => {
      const { entrypoint: Entrypoint, cmd: Cmd, env: Env, workingDir: WorkingDir, user: User } = config
      const text = { sizeBytes, config: { Entrypoint, Cmd, Env, WorkingDir, User } }
      writeDurably(join(from, 'image.json'), JSON.stringify(text))
      if (!existsSync(join(dir, key))) renameSync(from, join(dir, key))
      return { key, rootfs: join(dir, key, 'rootfs'), config }
    },
    remember: (name, key) => writeDurably(nameFile(name), key),
    list: (inUse) =>
      readdirSync(dir)
        .filter((key) => existsSync(join(dir, key, 'image.json')))
        .map((key) => ({ key, inUse: inUse.has(key), ...measured(join(dir, key, 'image.json')) })),
    remove: (key) => {
      const gone = join(trash, randomBytes(8).toString('hex'))
      renameSync(join(dir, key), gone)
      rm(gone, { recursive: true, force: true }).catch(() => undefined) // whatever it is: the next start tries again
    },
  }
}

function measured(path: string): { readonly sizeBytes: number; readonly usedAtMs: number } {
  const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
  const size = typeof value === 'object' && value !== null && 'sizeBytes' in value ? Number(value.sizeBytes) : 0
  return { sizeBytes: size, usedAtMs: statSync(path).mtimeMs }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}
