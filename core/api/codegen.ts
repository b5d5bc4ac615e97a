// Writes core/api/gen/cluster.ts from cluster.proto: `npm run generate`. The output is kept in the repository, so that
// neither set-up nor start needs a compiler of protocol buffers.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const bin = fileURLToPath(new URL('../../node_modules/.bin/', import.meta.url))
const options = [
  'outputServices=grpc-js',
  'oneof=unions-value',
  'forceLong=number', // versions and times stay far below 2^53
  'env=node',
  'esModuleInterop=true',
  'importSuffix=.js',
  'enumsAsLiterals=true',
  'outputJsonMethods=false',
  'outputPartialMethods=false',
  'useExactTypes=false',
  'removeEnumPrefix=false',
]
const template = {
  version: 'v2',
  plugins: [{ local: join(bin, 'protoc-gen-ts_proto'), out: join(here, 'gen'), opt: options }],
}

const work = mkdtempSync(join(tmpdir(), 'weft-generate-'))
try {
  const file = join(work, 'buf.gen.yaml')
  writeFileSync(file, JSON.stringify(template))
  execFileSync(join(bin, 'buf'), ['generate', here, '--template', file], { stdio: 'inherit' })
} finally {
  rmSync(work, { recursive: true, force: true })
}
