import { type DestinationStream, pino } from 'pino'

/** Facts beside a log line's constant message. */
export type LogFields = Readonly<Record<string, unknown>>

/**
 * One JSON object a line. `error` needs a human, `warn` degraded but retrying, `info` state changed, `debug` the rest.
 * The message is constant; what varies is in the fields.
 */
export interface Logger {
  error(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  debug(fields: LogFields, message: string): void
  /** A logger that adds these fields to each line. */
  child(fields: LogFields): Logger
}

/** Least severity that is written. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'silent'

/** Opens a log on `destination` (standard error when absent, so that standard output stays for results). */
export function openLog(name: string, level: LogLevel = 'info', destination?: DestinationStream): Logger {
  return pino(
    {
      name,
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      base: {},
      formatters: { level: (label) => ({ level: label }) },
    },
    destination ?? standardError(),
  ).child({ process: name })
}

/** What a log that can't be written may keep for later, in octets; lines beyond it are lost. */
const maxUnwritten = 64 * 1024

/** A disk that is full must not end a daemon: without a listener, the failed write of a log line would. */
function standardError(): DestinationStream {
  const destination = pino.destination({ dest: 2, sync: true, maxLength: maxUnwritten })
  destination.on('error', () => undefined)
  return destination
}

/** Drops every line: for tests and for callers that do not log. */
export const silentLog: Logger = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  child: () => silentLog,
}
