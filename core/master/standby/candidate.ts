import { z } from 'zod'
import { parseIp } from '../../base/ip.ts'
import { parseNodeName } from '../../model/ids.ts'

const candidateText = z.object({
  id: z.string(),
  nodeName: z.string().transform((text) => parseNodeName(text)),
  underlay: z.string().transform((text) => parseIp(text)),
  http: z.string(),
  grpc: z.string(),
  version: z.string(),
})

/** A master as the others see it: what it calls itself in an election. `http`, `grpc`: `address:port`. */
export type Candidate = z.infer<typeof candidateText>

/** As the store keeps it. */
export function formatCandidate(candidate: Candidate): string {
  return JSON.stringify(candidate)
}

/** @returns undefined for what is not a candidate of ours: another version's, or another program's */
export function parseCandidate(text: string | undefined): Candidate | undefined {
  if (text === undefined) return undefined
  try {
    return candidateText.parse(JSON.parse(text))
  } catch {
    return undefined // SyntaxError, ZodError, ERR_MODEL_ID: whoever it is can't be followed
  }
}
