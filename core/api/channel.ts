import { type ChannelOptions, credentials } from '@grpc/grpc-js'
import { type Clock } from '../base/clock.ts'
import { AppError, errorMessage } from '../base/errors.ts'
import { isMasterAddress } from './turns.ts'

/** A full snapshot of a large cluster is one message. */
const maxMessageBytes = 256 * 1024 * 1024

/** Long enough for a loaded machine, short enough to try the next master soon. */
export const firstAnswerMs = 10_000

/** A machine that is switched off refuses no connection: the next master is tried after this. */
export const connectMs = 4_000

/**
 * Options of both ends: HTTP/2 pings find a peer that vanished without a word; a proxy named in the environment is for
 * the outside world and would swallow the cluster's own traffic.
 */
export const channelOptions: ChannelOptions = {
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.max_receive_message_length': maxMessageBytes,
  'grpc.max_send_message_length': maxMessageBytes,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_retries': 0,
  // Each attempt starts afresh: the backoff is ours, not the channel's.
  'grpc.use_local_subchannel_pool': 1,
}

/** Plain HTTP/2, until the cluster has its own CA. */
export function insecureChannel(): ReturnType<typeof credentials.createInsecure> {
  return credentials.createInsecure()
}

/** Sleeps; an abort of `signal` only ends the sleep. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(ms, { signal })
  } catch (error) {
    if (!signal.aborted) throw error // otherwise it is the AbortError that ends the loop
  }
}

/** Why a stream ended, for a log line; an orderly end has no error. */
export function streamEnd(error: unknown): string {
  return error === undefined ? 'the master ended the stream' : errorMessage(error)
}

/** The master that a refusal names; undefined when it names none, or the failure was another. */
export function leaderOfRefusal(error: unknown): string | undefined {
  if (!(error instanceof AppError) || error.code !== 'ERR_API_REFUSED') return undefined
  const { leader } = error.details
  return typeof leader === 'string' && isMasterAddress(leader) ? leader : undefined
}
