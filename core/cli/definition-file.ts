import { readFileSync } from 'node:fs'
import { type Document, isNode, LineCounter, parseAllDocuments } from 'yaml'
import { AppError, errorMessage, hasCode } from '../base/errors.ts'

/** A place in a file, both counted from 1. */
export interface FilePlace {
  readonly line: number
  readonly column: number
}

/** One document of a definition file. */
export interface Definition {
  readonly value: unknown
  /** Where a field stands, or the innermost one around it that is there: `['container', 'portMappings', 0]`. */
  placeOf(path: readonly (string | number)[]): FilePlace
}

/**
 * The documents of a YAML or JSON file (`-`: standard input); a YAML file may have several, with `---` between. Empty
 * documents are left out.
 * @throws ERR_CLI_USAGE with file, line and column of what is wrong; when the file is missing or has nothing in it
 */
export function readDefinitionFile(file: string): readonly Definition[] {
  return parseDefinitions(readText(file), file === '-' ? 'standard input' : file)
}

/** The same of a text; `name` is what errors call it. @throws ERR_CLI_USAGE */
export function parseDefinitions(text: string, name: string): readonly Definition[] {
  const lines = new LineCounter()
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false })
  const documents: readonly Document[] = Array.isArray(parsed) ? parsed : []
  for (const { errors } of documents) {
    const first = errors[0]
    if (first === undefined) continue
    const { line, col } = lines.linePos(first.pos[0])
    throw new AppError('ERR_CLI_USAGE', `${name}:${line}:${col}: ${first.message}`)
  }
  const definitions = documents.filter(isFilled).map((document) => definitionOf(document, lines, name))
  if (definitions.length === 0) throw new AppError('ERR_CLI_USAGE', `${name} has no definition in it`)
  return definitions
}

/** The only document of a file. @throws ERR_CLI_USAGE also when there are several */
export function readOneDefinition(file: string): Definition {
  const [first, second] = readDefinitionFile(file)
  if (first === undefined || second !== undefined) {
    throw new AppError('ERR_CLI_USAGE', `${file} has several definitions: give them one by one`)
  }
  return first
}

function isFilled({ contents }: Document): boolean {
  return contents !== null && !(isNode(contents) && contents.toJSON() === null)
}

function definitionOf(document: Document, lines: LineCounter, name: string): Definition {
  return {
    value: toValue(document, name),
    placeOf: (path) => {
      for (let depth = path.length; depth >= 0; depth--) {
        const node = depth === 0 ? document.contents : document.getIn(path.slice(0, depth), true)
        if (!isNode(node) || node.range === undefined || node.range === null) continue
        const { line, col } = lines.linePos(node.range[0])
        return { line, column: col }
      }
      return { line: 1, column: 1 }
    },
  }
}

function toValue(document: Document, name: string): unknown {
  try {
    return document.toJS()
  } catch (error) {
    // A name without an anchor, or so many of them that the value would be enormous.
    throw new AppError('ERR_CLI_USAGE', `${name}: ${errorMessage(error)}`, { cause: error })
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw new AppError('ERR_CLI_USAGE', `no file "${file}"`, { cause: error })
    if (hasCode(error, 'EISDIR'))
      throw new AppError('ERR_CLI_USAGE', `"${file}" is a folder: name a file`, { cause: error })
    throw error
  }
}
