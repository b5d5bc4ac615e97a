/** How parts that notice something ask for an audit, before and after there is somebody who does it. */
export interface AuditRequests {
  /** Soon; many requests may become one audit. */
  request(): void
  /** Who does it; told at once when a request is waiting. */
  serve(audit: () => void): void
}

/** Opens it without anybody who serves. */
export function openAuditRequests(): AuditRequests {
  let waiting = false
  let audit = () => {
    waiting = true
  }
  return {
    request: () => audit(),
    serve: (served) => {
      audit = served
      if (waiting) served()
    },
  }
}
