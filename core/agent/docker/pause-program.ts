import { AppError } from '../../base/errors.ts'

/** Where the program is loaded, and how far apart pages may be (arm64 has them of 64 kB). */
const loadAddress = 0x400000
const pageSize = 0x10000

const elfHeaderLength = 64
const programHeaderLength = 56

interface Machine {
  /** e_machine, include/uapi/linux/elf-em.h */
  readonly machine: number
  readonly code: readonly number[]
}

/** Little-endian words of arm64 instructions. */
const words = (...values: readonly number[]) =>
  values.flatMap((value) => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24])

const machines: Readonly<Record<string, Machine>> = {
  // mov eax, 34 (pause); syscall; jmp to the start
  amd64: { machine: 62, code: [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7] },
  // mov x0…x3, 0; mov x8, 73 (ppoll); svc 0; b to the start
  arm64: {
    machine: 183,
    code: words(0xd2800000, 0xd2800001, 0xd2800002, 0xd2800003, 0xd2800928, 0xd4000001, 0x17fffffa),
  },
}

/**
 * A program that does nothing for ever, for a container that only keeps a namespace: some hundred octets made here, so
 * that no registry and no compiler is needed. Source: elf(5). @throws ERR_AGENT_DOCKER_ARCH
 */
export function pauseProgram(arch: string): Buffer {
  const found = machines[arch]
  if (found === undefined) {
    const known = Object.keys(machines).join(', ')
    throw new AppError('ERR_AGENT_DOCKER_ARCH', `Docker on ${arch}: containers with own networks run on ${known} only`)
  }
  const start = elfHeaderLength + programHeaderLength
  const whole = Buffer.alloc(start + found.code.length)
  whole.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]) // magic, 64 bits, little endian, version
  whole.writeUInt16LE(2, 16) // ET_EXEC
  whole.writeUInt16LE(found.machine, 18)
  whole.writeUInt32LE(1, 20)
  whole.writeBigUInt64LE(BigInt(loadAddress + start), 24) // entry
  whole.writeBigUInt64LE(BigInt(elfHeaderLength), 32) // of the program headers
  whole.writeUInt16LE(elfHeaderLength, 52)
  whole.writeUInt16LE(programHeaderLength, 54)
  whole.writeUInt16LE(1, 56) // how many
  const segment = whole.subarray(elfHeaderLength)
  segment.writeUInt32LE(1, 0) // PT_LOAD
  segment.writeUInt32LE(5, 4) // readable, executable
  segment.writeBigUInt64LE(BigInt(loadAddress), 16)
  segment.writeBigUInt64LE(BigInt(loadAddress), 24)
  segment.writeBigUInt64LE(BigInt(whole.length), 32)
  segment.writeBigUInt64LE(BigInt(whole.length), 40)
  segment.writeBigUInt64LE(BigInt(pageSize), 48)
  whole.set(found.code, start)
  return whole
}
