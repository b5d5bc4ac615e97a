import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { type Clock } from '../../base/clock.ts'
import { errorMessage } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { openFetchCache } from '../fetch/cache.ts'
import { openArchives } from '../fetch/fetcher.ts'
import { openImageFiles } from '../image/image-files.ts'
import { openImages } from '../image/images.ts'
import { openPuller } from '../image/skopeo.ts'
import { type AgentPaths, containerPaths } from '../paths.ts'
import { type Provisions } from './provision.ts'
import { type HostView } from './spec.ts'
import { type HostVolumeRoot } from './volumes.ts'

/** How often unused images are looked for. */
const collectMs = 600_000

const dayMs = 24 * 3_600_000

/** Source: mesos, fetcher_cache_size. */
const cachePolicy = { maxBytes: 2 * 1024 ** 3, maxAgeMs: 7 * dayMs, graceMs: 0 }

/** What an operator decides on images, volumes and fetched files. */
export interface ProvisionFlags {
  /** Registries (`host:port`) asked by plain HTTP, or without checking their certificates. */
  readonly insecureRegistries: readonly string[]
  /** None: tasks may have no volume of the node. */
  readonly hostVolumes: readonly HostVolumeRoot[]
  /** Unused images beyond it go, the longest unused first. */
  readonly imageDiskMb: number
}

/** What an agent's containers are provided with; sweeps unused images until aborted. */
export function openProvisions(
  at: { readonly paths: AgentPaths; readonly host: HostView; readonly log: Logger; readonly clock: Clock },
  flags: ProvisionFlags,
  { signal }: { readonly signal: AbortSignal },
): Provisions {
  const { paths, host, log, clock } = at
  const fetch = { cache: openFetchCache(paths.fetched, cachePolicy), hidden: host.hidden }
  const images = openImages({
    files: openImageFiles(paths.images),
    puller: openPuller({ insecure: flags.insecureRegistries }),
    archives: openArchives(fetch),
    hidden: host.hidden,
    keep: { maxBytes: flags.imageDiskMb * 1024 ** 2, maxAgeMs: 7 * dayMs, graceMs: collectMs },
    log,
  })
  const collect = () => {
    if (signal.aborted) return
    try {
      images.collect(imagesInUse(paths), clock.nowMs())
    } catch (error) {
      log.warn({ error: errorMessage(error) }, 'can not remove unused images')
    }
    clock.after(collectMs, collect)
  }
  collect()
  return { paths, host, images, fetch, hostVolumes: flags.hostVolumes }
}

/** By what containers' folders say: also of those that an earlier agent started. */
function imagesInUse(paths: AgentPaths): ReadonlySet<string> {
  if (!existsSync(paths.containers)) return new Set()
  const files = readdirSync(paths.containers).map((id) => containerPaths(paths, id).image)
  return new Set(files.filter((file) => existsSync(file)).map((file) => readFileSync(file, 'utf8')))
}
