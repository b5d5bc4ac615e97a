import { AppError } from '../../base/errors.ts'
import { type Api, openApi } from '../api.ts'
import { type GlobalOptions } from '../program.ts'
import { type ClusterLayout, clusterLayout } from '../up/layout.ts'
import { readClusterRecord } from '../up/record.ts'

/** The master to talk to: `--master`, then WEFT_MASTER, then the local cluster. @throws ERR_CLI_NO_CLUSTER */
export function targetApi(globals: GlobalOptions): Api {
  const url = globals.master ?? process.env['WEFT_MASTER'] ?? readClusterRecord(globals.cluster)?.api
  if (url === undefined) throw noCluster(globals.cluster)
  const wrong = url.split(',').find((one) => !URL.canParse(one))
  if (wrong !== undefined)
    throw new AppError('ERR_CLI_USAGE', `--master "${wrong}" is not a URL like http://127.0.0.1:5050`)
  return openApi(url)
}

/** Where everything of the local cluster is. @throws ERR_CLI_NO_CLUSTER */
export function targetLayout(globals: GlobalOptions): ClusterLayout {
  const record = readClusterRecord(globals.cluster)
  if (record === undefined) throw noCluster(globals.cluster)
  return clusterLayout(record)
}

function noCluster(name: string): AppError {
  return new AppError('ERR_CLI_NO_CLUSTER', `no local cluster "${name}" is up; start one: weft up -d`)
}
