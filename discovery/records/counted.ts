import { rdataCode, formatRdata, type Rdata } from '../dns/rdata.ts'

/** Records of one owner name, each once however many entities add it. */
export interface CountedRecords {
  /** @returns true when it was not there */
  add(data: Rdata): boolean
  /** @returns true when nobody adds it any more */
  remove(data: Rdata): boolean
  readonly size: number
  values(): Iterable<Rdata>
}

interface Held {
  readonly data: Rdata
  count: number
}

/** Most names have one or two records, for which a list takes a fifth of a map's memory. */
const mostInList = 4

/** None yet. */
export function countedRecords(): CountedRecords {
  return new Counted()
}

/** A class, for there are as many as names, and closures would take more than what they hold. */
class Counted implements CountedRecords {
  #list: readonly Held[] | undefined = []
  #map: Map<string, Held> | undefined

  get size(): number {
    return this.#list?.length ?? this.#map?.size ?? 0
  }

  add(data: Rdata): boolean {
    const known = this.#find(data)
    if (known !== undefined) {
      known.count++
      return false
    }
    const held = { data, count: 1 }
    if (this.#list !== undefined && this.#list.length < mostInList) this.#list = [...this.#list, held]
    else this.#mapped().set(textOf(data), held)
    return true
  }

  remove(data: Rdata): boolean {
    const known = this.#find(data)
    if (known === undefined || --known.count > 0) return false
    if (this.#list === undefined) this.#map?.delete(textOf(data))
    else this.#list = this.#list.filter((held) => held !== known)
    return true
  }

  *values(): Generator<Rdata, undefined> {
    for (const { data } of this.#list ?? this.#map?.values() ?? []) yield data
  }

  #find(data: Rdata): Held | undefined {
    const text = textOf(data)
    return this.#list === undefined ? this.#map?.get(text) : this.#list.find((held) => textOf(held.data) === text)
  }

  #mapped(): Map<string, Held> {
    this.#map ??= new Map((this.#list ?? []).map((held) => [textOf(held.data), held]))
    this.#list = undefined
    return this.#map
  }
}

/** Equal text, equal record. */
function textOf(data: Rdata): string {
  return `${rdataCode(data)} ${formatRdata(data)}`
}
