/** A version as Marathon writes it: the time of the change, ISO 8601. */
export function formatVersion(version: number): string {
  return new Date(version).toISOString()
}
