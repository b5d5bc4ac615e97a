import { AppError } from '../../core/base/errors.ts'

/** nft prints errno by strerror(3), in English since it is run with LC_ALL=C. The first that matches counts. */
const reasons: readonly (readonly [RegExp, string, string])[] = [
  [/syntax error|data ?type|unexpected/, 'ERR_NFT_SYNTAX', 'nft does not understand it'],
  [
    /No such file or directory|does not exist/,
    'ERR_NFT_NOT_FOUND',
    'something that it names is not there: read the table again',
  ],
  [/File exists/, 'ERR_NFT_EXISTS', 'it is there already, with another meaning: read the table again'],
  [/Device or resource busy/, 'ERR_NFT_BUSY', 'something still refers to it'],
  [/Operation not permitted|Permission denied/, 'ERR_NFT_DENIED', 'it needs CAP_NET_ADMIN in the network namespace'],
]

/** The error for what nft said on standard error. The text itself is in `details.text` and in the message. */
export function nftError(text: string, attempted: string): AppError {
  const first = text.trim().split('\n')[0] ?? ''
  const [, code, hint] = reasons.find(([pattern]) => pattern.test(text)) ?? [
    undefined,
    'ERR_NFT_FAILED',
    'see the text',
  ]
  return new AppError(code, `nft: ${attempted}: ${first || 'no message'}: ${hint}`, { details: { text: text.trim() } })
}
