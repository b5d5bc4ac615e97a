import { closeSync, fstatSync, writeFileSync } from 'node:fs'
import { openOutput } from '../containerizer/provision.ts'
import { type DockerClient } from './client.ts'
import { readFrames } from './frames.ts'

/** Whose output is copied where. */
export interface LogCopy {
  readonly name: string
  readonly sandbox: string
}

/**
 * Copies what a container writes to `stdout` and `stderr` of its sandbox, until it has ended. What is there already is
 * left out: an agent that was restarted goes on where the earlier one stopped, and loses nothing, as the Engine keeps all.
 * @throws as DockerClient.stream; ENOSPC
 */
export async function copyLogs(
  client: DockerClient,
  { name, sandbox }: LogCopy,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  const query = { follow: '1', stdout: '1', stderr: '1' }
  const source = await client.stream({ method: 'GET', path: `/containers/${name}/logs`, query }, options)
  const stdout = openCopy(sandbox, 'stdout')
  const stderr = openCopy(sandbox, 'stderr')
  try {
    for await (const { stream, content } of readFrames(source)) {
      const copy = stream === 'stdout' ? stdout : stderr
      copy.write(content)
    }
  } finally {
    stdout.close()
    stderr.close()
  }
}

function openCopy(sandbox: string, stream: string) {
  const fd = openOutput(sandbox, stream, { uid: 0, gid: 0 })
  let toSkip = fstatSync(fd).size
  return {
    write: (content: Buffer) => {
      const skipped = Math.min(toSkip, content.length)
      toSkip -= skipped
      if (skipped < content.length) writeFileSync(fd, content.subarray(skipped))
    },
    close: () => closeSync(fd),
  }
}
