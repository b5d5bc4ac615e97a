import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { AppError } from '../../base/errors.ts'
import { type Api, isRecord } from '../api.ts'
import { readDefinitionFile } from '../definition-file.ts'
import { formatPlan } from '../deploying/plan-text.ts'
import { rowsOf } from '../deploying/progress.ts'
import { type FileProblem, validate } from '../deploying/validate.ts'
import { idPath, type WantedItem, wantedOf } from '../deploying/wanted.ts'
import { print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { finish, type ForceOptions, type WaitOptions } from './finish.ts'
import { targetApi } from './target.ts'

/** Options of `weft app init`. */
export interface InitOptions {
  readonly group: boolean
  readonly pod: boolean
  readonly force: boolean
}

/** `weft app init [FILE]`: an example that deploys as it stands; without a file: to stdout. */
export async function initApp(globals: GlobalOptions & InitOptions, file?: string): Promise<void> {
  if (globals.group && globals.pod) throw new AppError('ERR_CLI_USAGE', 'give --group or --pod, not both')
  const name = globals.group ? 'group' : globals.pod ? 'pod' : 'app'
  const text = readFileSync(new URL(`../sample/${name}.yaml`, import.meta.url), 'utf8')
  if (file === undefined || file === '-') {
    process.stdout.write(text)
    return
  }
  if (existsSync(file) && !globals.force) {
    throw new AppError('ERR_CLI_USAGE', `${file} is there already: name another one, or overwrite it with --force`)
  }
  writeFileSync(file, text)
  print(
    { file },
    () => `${file} written; next: weft app validate ${file}, weft app plan ${file}, weft app deploy ${file}`,
    globals,
  )
}

/** `weft app validate FILE`: without a master; exits with 1 when something is wrong. */
export async function validateFile(globals: GlobalOptions, file: string): Promise<void> {
  const items = wantedOf(readDefinitionFile(file))
  const problems = validate(items)
  const name = file === '-' ? 'standard input' : file
  const text = () => (problems.length === 0 ? `${name}: ${items.length} right` : formatProblems(name, problems))
  print({ valid: problems.length === 0, problems }, text, globals)
  if (problems.length > 0) process.exitCode = 1
}

function formatProblems(name: string, problems: readonly FileProblem[]): string {
  return problems
    .map(({ line, column, path, errors }) => `${name}:${line}:${column}: ${path}: ${errors.join('; ')}`)
    .join('\n')
}

/** `weft app plan FILE`. */
export async function planFile(globals: GlobalOptions, file: string): Promise<void> {
  const api = targetApi(globals)
  const plans: unknown[] = []
  for (const part of partsOf(wantedOf(readDefinitionFile(file)))) {
    plans.push(await located(file, part, async () => (await api.send('POST', '/v1/plan', part.body)).body))
  }
  print(plans.length === 1 ? plans[0] : plans, () => plans.map(formatPlan).join('\n'), globals)
}

/** `weft app deploy FILE`: what is there is changed, what is not is made; a field that the file leaves out is not kept. */
export async function deployFile(options: GlobalOptions & WaitOptions & ForceOptions, file: string): Promise<void> {
  const items = wantedOf(readDefinitionFile(file))
  await deployItems(options, file, items)
}

/** `weft group deploy FILE`: as `weft app deploy`, of groups only. */
export async function deployGroup(options: GlobalOptions & WaitOptions & ForceOptions, file: string): Promise<void> {
  const items = wantedOf(readDefinitionFile(file))
  const other = items.find(({ kind }) => kind !== 'group')
  if (other !== undefined) {
    throw new AppError('ERR_CLI_USAGE', `${file} has ${other.kind === 'pod' ? 'a pod' : 'an app'}: use weft app deploy`)
  }
  await deployItems(options, file, items)
}

async function deployItems(
  options: GlobalOptions & WaitOptions & ForceOptions,
  file: string,
  items: readonly WantedItem[],
): Promise<void> {
  const api = targetApi(options)
  for (const part of partsOf(items)) {
    const body = await located(file, part, () => put(api, part, options))
    await finish({ api, options, what: `${part.ids.join(', ')} deployed`, body: { ...body, ids: part.ids } })
  }
}

/** What is deployed by one request: all apps of a file together, each group, each pod. */
interface Part {
  readonly kind: WantedItem['kind']
  readonly ids: readonly string[]
  readonly body: unknown
  readonly items: readonly WantedItem[]
}

function partsOf(items: readonly WantedItem[]): readonly Part[] {
  const apps = items.filter(({ kind }) => kind === 'app')
  const others = items.filter(({ kind }) => kind !== 'app')
  const ofApps: readonly Part[] =
    apps.length === 0 ? [] : [{ kind: 'app', ids: apps.map(idOf), body: apps.map(({ body }) => body), items: apps }]
  return [...ofApps, ...others.map((item) => ({ kind: item.kind, ids: [idOf(item)], body: item.body, items: [item] }))]
}

function idOf({ body }: WantedItem): string {
  return isRecord(body) && typeof body['id'] === 'string' ? body['id'] : '(without an id)'
}

async function put(api: Api, { kind, ids, body }: Part, { force }: ForceOptions): Promise<Record<string, unknown>> {
  if (kind === 'app') return toRecord(await api.send('PUT', `/v2/apps?partialUpdate=false&force=${force}`, body))
  if (kind === 'group') return toRecord(await api.send('PUT', `${idPath('groups', ids[0])}?force=${force}`, body))
  const path = idPath('pods', ids[0])
  const exists = (await api.request('GET', path)).status === 200
  const answer = exists
    ? await api.send('PUT', `${path}?force=${force}`, body)
    : await api.send('POST', '/v2/pods', body)
  // A pod's answer is the pod: its deployment is in the head.
  return { ...toRecord(answer), deploymentId: answer.headers.get('marathon-deployment-id') }
}

function toRecord({ body }: { readonly body: unknown }): Record<string, unknown> {
  return isRecord(body) ? body : {}
}

/** Fields that the master refuses are told with their places in the file. @throws ERR_CLI_REFUSED */
async function located<Answer>(file: string, part: Part, run: () => Promise<Answer>): Promise<Answer> {
  try {
    return await run()
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'ERR_CLI_REFUSED') throw error
    const body = error.details['body']
    const problems = rowsOf(isRecord(body) ? body['details'] : undefined).flatMap((detail) => problemOf(part, detail))
    if (problems.length === 0) throw error
    const head = `${isRecord(body) ? String(body['message']) : 'refused'}; nothing was changed`
    throw new AppError('ERR_CLI_REFUSED', `${head}\n${formatProblems(file, problems)}`, { cause: error })
  }
}

function problemOf({ kind, items }: Part, { path, errors }: Record<string, unknown>): readonly FileProblem[] {
  const text = String(path)
  const [, index, inner] = (kind === 'app' ? /^\/\((\d+)\)(.*)$/.exec(text) : undefined) ?? [undefined, '0', text]
  const item = items[Number(index)]
  const rest = inner === undefined || inner === '' ? '/' : inner
  const reasons = Array.isArray(errors) ? errors.map(String) : [String(errors)]
  return item === undefined ? [] : [{ ...item.placeOf(rest), path: rest, errors: reasons }]
}
