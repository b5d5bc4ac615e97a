const block = 512

/** A tar archive with one executable file. Source: tar(5), ustar. */
export function tarOf(name: string, content: Buffer): Buffer {
  const header = Buffer.alloc(block)
  header.write(name, 0)
  const octal = (value: number, length: number, at: number) =>
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at)
  octal(0o755, 8, 100)
  octal(0, 8, 108)
  octal(0, 8, 116)
  octal(content.length, 12, 124)
  octal(0, 12, 136)
  header.fill(' ', 148, 156)
  header.write('0', 156)
  header.write('ustar\0' + '00', 257)
  const sum = header.reduce((total, octet) => total + octet, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  const padding = Buffer.alloc((block - (content.length % block)) % block)
  return Buffer.concat([header, content, padding, Buffer.alloc(2 * block)])
}

/** Content of the first entry, when it is a plain file; links and folders are empty. */
export function firstFileOf(archive: Buffer): string {
  if (archive.length < block) return ''
  const type = String.fromCharCode(archive[156] ?? 0)
  const size = Number.parseInt(archive.toString('latin1', 124, 136), 8)
  if ((type !== '0' && type !== '\0') || !(size >= 0)) return ''
  return archive.toString('utf8', block, Math.min(archive.length, block + size))
}
