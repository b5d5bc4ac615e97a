import { fileURLToPath } from 'node:url'

/** Containers have memory file systems of their own there. Source: core/agent/containerizer/host-view.ts, scratch. */
const scratch = ['/tmp/', '/run/', '/var/tmp/']

/** Whether containers, which see the machine's files, see this checkout too: false when they do, else why not. */
export function hidesCheckout(): string | false {
  const here = fileURLToPath(new URL('../..', import.meta.url))
  const hidden = scratch.find((folder) => here.startsWith(folder))
  return hidden === undefined ? false : `this checkout is below ${hidden}, which containers do not see`
}
