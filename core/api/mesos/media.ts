/** The one encoding of calls and events. */
const json = 'application/json'

/** An answer that refuses a request. */
export interface Refusal {
  readonly status: number
  readonly text: string
}

/** Why a request's `Content-Type` is not read. Source: mesos, src/master/http.cpp, Master::Http::scheduler. */
export function contentTypeProblem(header: string | undefined): Refusal | undefined {
  if (header === undefined || header.trim() === '') {
    return { status: 400, text: "Expecting 'Content-Type' to be present" }
  }
  const type = mediaType(header)
  if (type === json) return undefined
  const advice = type === 'application/x-protobuf' ? ': this master reads JSON only' : ''
  return { status: 415, text: `Expecting 'Content-Type' of ${json}${advice}` }
}

/** Why no answer can be made that the client takes. No header takes all. Source: RFC 9110 §12.5.1. */
export function acceptProblem(header: string | undefined): Refusal | undefined {
  if (header === undefined || header.trim() === '') return undefined
  const takes = header.split(',').some((range) => {
    const isRefused = /;\s*q=0(\.0*)?\s*(;|$)/i.test(range)
    return !isRefused && ['*/*', 'application/*', json].includes(mediaType(range))
  })
  return takes ? undefined : { status: 406, text: `Expecting 'Accept' to allow '${json}'` }
}

function mediaType(header: string): string {
  return (header.split(';')[0] ?? '').trim().toLowerCase()
}
