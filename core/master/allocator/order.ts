/**
 * A sorted list in pieces of bounded length: putting in and taking out costs two binary searches and the shift of one piece,
 * whatever the length of the list. (One array would shift all that is behind; a tree walks slower from first to last, which
 * is what an allocation does.)
 */
export interface Order<T> {
  /** The item must not be in the list. */
  insert(item: T): void
  /** The item must be in the list, and compare as it did when it was put in. */
  remove(item: T): void
  /** The first that `accept` takes. */
  find(accept: (item: T) => boolean): T | undefined
  /** Sorts anew, after what the items compare by has changed. */
  rebuild(items: Iterable<T>): void
  items(): readonly T[]
}

/** A piece is split in two at this length. */
const longest = 128

/** Opens an empty list; no two items may compare as equal. */
export function openOrder<T>(compare: (a: T, b: T) => number): Order<T> {
  let pieces: T[][] = []
  const pieceOf = (item: T) => {
    let low = 0
    let high = pieces.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      const last = pieces[middle]?.at(-1)
      if (last !== undefined && compare(last, item) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
  return {
    insert: (item) => {
      if (pieces.length === 0) pieces.push([])
      const at = pieceOf(item)
      const piece = pieces[at] ?? []
      piece.splice(position(piece, item, compare), 0, item)
      if (piece.length > longest) pieces.splice(at + 1, 0, piece.splice(longest / 2))
    },
    remove: (item) => {
      const at = pieceOf(item)
      const piece = pieces[at]
      if (piece === undefined) return
      const index = position(piece, item, compare)
      if (piece[index] === item) piece.splice(index, 1)
      if (piece.length === 0) pieces.splice(at, 1)
    },
    find: (accept) => {
      for (const piece of pieces) for (const item of piece) if (accept(item)) return item
      return undefined
    },
    rebuild: (items) => {
      const sorted = [...items].sort(compare)
      pieces = []
      for (let i = 0; i < sorted.length; i += longest / 2) pieces.push(sorted.slice(i, i + longest / 2))
    },
    items: () => pieces.flat(),
  }
}

function position<T>(piece: readonly T[], item: T, compare: (a: T, b: T) => number): number {
  let low = 0
  let high = piece.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const other = piece[middle]
    if (other !== undefined && compare(other, item) < 0) low = middle + 1
    else high = middle
  }
  return low
}
