import { spawn } from 'node:child_process'
import { AppError, hasCode } from '../../core/base/errors.ts'
import { nftError } from './errors.ts'
import { type Nft, type NftNamespace } from './nft.ts'
import { formatNftTransaction } from './ops.ts'
import { parseNftTable } from './parse.ts'

/** How to run nft. */
export interface NftProcessOptions {
  /** Absent: the process's own namespace. */
  readonly namespace?: NftNamespace
  /** The longest that one nft may take; 30,000 when absent. 10,000 VIPs take under 1 s. */
  readonly timeoutMs?: number
}

/** The `nft` program, once for each transaction: some 10 ms each, but nothing of it runs on our thread. */
export function openNftProcess(options: NftProcessOptions = {}): Nft {
  const run = async (args: readonly string[], input: string, signal: AbortSignal) =>
    runNft(args, input, { ...options, signal })
  return {
    name: 'process',
    apply: async (transaction, { signal }) => {
      if (transaction.ops.length > 0) await run(['-f', '-'], formatNftTransaction(transaction), signal)
    },
    check: async (transaction, { signal }) => {
      if (transaction.ops.length > 0) await run(['-c', '-f', '-'], formatNftTransaction(transaction), signal)
    },
    readTable: async (table, { signal }) => {
      try {
        return parseNftTable(await run(['-j', 'list', 'table', 'inet', table], '', signal))
      } catch (error) {
        if (hasCode(error, 'ERR_NFT_NOT_FOUND')) return undefined
        throw error
      }
    },
    close: () => undefined,
  }
}

async function runNft(
  args: readonly string[],
  input: string,
  { namespace, timeoutMs = 30_000, signal }: NftProcessOptions & { readonly signal: AbortSignal },
): Promise<string> {
  const prefix = namespace === undefined ? [] : ['nsenter', `--net=/proc/${process.pid}/fd/${namespace.fd}`]
  const [command = 'nft', ...rest] = [...prefix, 'nft', ...args]
  const limit = AbortSignal.timeout(timeoutMs)
  const child = spawn(command, rest, {
    env: { ...process.env, LC_ALL: 'C' },
    signal: AbortSignal.any([signal, limit]),
    killSignal: 'SIGKILL',
  })
  const output: Buffer[] = []
  const errors: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk))
  child.stdin.on('error', () => undefined) // EPIPE: nft ended early; its exit status and text tell why
  child.stdin.end(input)
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.on('error', reject)
  child.on('close', resolve)
  const status = await promise.catch((cause: unknown) => {
    if (signal.aborted) throw cause
    if (limit.aborted) throw new AppError('ERR_NFT_TIMEOUT', `nft took over ${timeoutMs} ms and was ended`, { cause })
    throw new AppError('ERR_NFT_UNAVAILABLE', `can't run ${command}: install Debian's package nftables`, { cause })
  })
  if (status !== 0) throw nftError(Buffer.concat(errors).toString(), args.join(' '))
  return Buffer.concat(output).toString()
}
