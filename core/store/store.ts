/** A value with the revision of its last change; revisions of a key only grow. */
export interface Versioned {
  readonly value: string
  readonly revision: number
}

/** One change of a batch: `value` undefined deletes. `revision` 0: the key must not exist; absent: whatever is there. */
export interface StoreWrite {
  readonly key: string
  readonly value: string | undefined
  readonly revision?: number
}

/**
 * What a master keeps: small values under path-like keys. Every write is conditional on the writer's term, so that a
 * deposed leader can change nothing (design.md, Terms).
 */
export interface Store {
  get(key: string): Promise<Versioned | undefined>
  /** Keys that start with `prefix`, in order. */
  list(prefix: string): Promise<ReadonlyMap<string, Versioned>>
  /**
   * All or nothing, durable when it resolves.
   * @returns the revision of the batch
   * @throws ERR_STORE_CONFLICT when a key has another revision; ERR_STORE_TERM when a newer leader has written;
   *   ERR_STORE_FULL when the disk is full
   */
  write(writes: readonly StoreWrite[], options: { readonly term: number }): Promise<number>
  /** Leadership. Resolves when this process is the leader; the signal gives the wait up. */
  elect(candidate: string, options: { readonly signal: AbortSignal }): Promise<Leadership>
  /**
   * Who leads, as it called itself in `elect`, and every later change; undefined while nobody does. The present state
   * comes first. Goes on through failures of the server: what was known last stays until better is known.
   */
  watchLeader(options: { readonly signal: AbortSignal }): AsyncIterable<string | undefined>
  close(): Promise<void>
}

/** A term of office. `lost` aborts when it ends: the process must stop acting at once. */
export interface Leadership {
  readonly term: number
  readonly lost: AbortSignal
  resign(): Promise<void>
}
