import { AppError } from '../../core/base/errors.ts'
import { nftError } from './errors.ts'
import { type Nft, type NftNamespace } from './nft.ts'
import { formatNftTransaction, type NftTransaction, nftTransactionSize } from './ops.ts'
import { openNftProcess } from './process.ts'

/** Debian's libnftables1, which the package nftables depends on; the ABI number is in the name. */
const libraryName = 'libnftables.so.1'

/** NFT_CTX_DEFAULT, nftables/libnftables.h */
const NFT_CTX_DEFAULT = 0

/**
 * Over this many objects, a transaction goes to the program instead: the library works on our thread, and while it does no
 * DNS query is answered. 500 take some 10 ms here, which is what starting the program costs.
 */
const largestHere = 500

/** The few functions that are used. Source: nftables/libnftables.h */
interface Library {
  readonly open: (flags: number) => object | null
  readonly free: (context: object) => void
  readonly bufferOutput: (context: object) => number
  readonly bufferError: (context: object) => number
  readonly errorText: (context: object) => string | null
  readonly run: (context: object, commands: string) => number
}

/** Where libnftables works. */
export interface LibnftablesOptions {
  /** Absent: the process's own namespace, which the thread must be in whenever a method is called. */
  readonly namespace?: NftNamespace
}

/**
 * nftables through the library that the nft program is made of: a small change takes a fraction of a millisecond instead of
 * the 10 to 20 that starting a program costs. Reading, and large transactions, still go through the program, because they
 * would block the thread; checks too, because after nft_ctx_set_dry_run the context of version 1.0.6 takes what was only
 * tried for what is there ("interval overlaps with an existing one").
 *
 * koffi is used here besides networking/netlink/native.ts because this is a library of its own, not a system call, that
 * nothing else needs, and whose absence must not keep the netlink part from loading.
 * @throws ERR_NFT_UNAVAILABLE when the library or koffi can't be loaded
 */
export async function openLibnftables(options: LibnftablesOptions = {}): Promise<Nft> {
  const { namespace } = options
  const inside = <T>(run: () => T): T => (namespace === undefined ? run() : namespace.inside(namespace.fd, run))
  const library = await loadLibrary()
  const program = openNftProcess(options)
  // The context opens its netlink socket now or at each run, depending on the version: both must happen inside.
  const context = inside(() => library.open(NFT_CTX_DEFAULT))
  if (context === null) throw new AppError('ERR_NFT_UNAVAILABLE', `${libraryName}: nft_ctx_new failed`)
  library.bufferOutput(context)
  library.bufferError(context)
  let open = true
  const run = (transaction: NftTransaction) => {
    if (!open) throw new AppError('ERR_NFT_CLOSED', 'this nftables handle was closed: open a new one')
    const text = formatNftTransaction(transaction)
    const status = inside(() => library.run(context, text))
    const errors = library.errorText(context) ?? '' // reading it also empties it
    if (status !== 0) throw nftError(errors, 'apply')
  }
  return {
    name: 'libnftables',
    apply: async (transaction, { signal }) => {
      signal.throwIfAborted()
      if (nftTransactionSize(transaction) > largestHere) return program.apply(transaction, { signal })
      if (transaction.ops.length > 0) run(transaction)
    },
    check: async (transaction, { signal }) => program.check(transaction, { signal }),
    readTable: async (table, { signal }) => program.readTable(table, { signal }),
    close: () => {
      if (open) library.free(context)
      open = false
    },
  }
}

async function loadLibrary(): Promise<Library> {
  try {
    const { default: koffi } = await import('koffi')
    const library = koffi.load(libraryName)
    return {
      open: library.func('nft_ctx_new', 'void *', ['uint32_t']),
      free: library.func('nft_ctx_free', 'void', ['void *']),
      bufferOutput: library.func('nft_ctx_buffer_output', 'int', ['void *']),
      bufferError: library.func('nft_ctx_buffer_error', 'int', ['void *']),
      errorText: library.func('nft_ctx_get_error_buffer', 'str', ['void *']),
      run: library.func('nft_run_cmd_from_buffer', 'int', ['void *', 'str']),
    }
  } catch (cause) {
    throw new AppError('ERR_NFT_UNAVAILABLE', `can't load ${libraryName}: install Debian's package libnftables1`, {
      cause,
    })
  }
}
