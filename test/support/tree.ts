import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Absolute path of the repository's top. */
export const repositoryRoot = fileURLToPath(new URL('../..', import.meta.url))

/** TypeScript files below the given folders, relative to the top, generated code left out. */
export function sourceFiles(folders: readonly string[]): readonly string[] {
  return folders
    .flatMap((folder) =>
      readdirSync(join(repositoryRoot, folder), { recursive: true, encoding: 'utf8' }).map(
        (file) => `${folder}/${file}`,
      ),
    )
    .filter((file) => file.endsWith('.ts') && !file.startsWith('core/api/gen/') && !file.includes('node_modules'))
    .toSorted()
}
