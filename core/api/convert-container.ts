import { type ContainerInfo, type FetchUri, type Image, type VolumeMount } from '../model/container.ts'
import {
  type ContainerInfo as ContainerInfoProto,
  type FetchUri as FetchUriProto,
  type Image as ImageProto,
  type VolumeMount as VolumeMountProto,
} from './gen/cluster.ts'
import { oneOf, required } from './parse.ts'

/** How a container is made, as it travels. */
export function encodeContainer({ type, image, volumes, privileged }: ContainerInfo): ContainerInfoProto {
  return {
    type,
    image: image === undefined ? undefined : { source: encodeImage(image) },
    volumes: volumes.map(encodeVolume),
    privileged,
  }
}

/** @throws ERR_API_INVALID */
export function decodeContainer(proto: ContainerInfoProto, field: string): ContainerInfo {
  const { type, image, volumes, privileged } = proto
  return {
    type: oneOf(type, ['mesos', 'docker'], `${field}.type`),
    ...(image === undefined ? {} : { image: decodeImage(required(image.source, `${field}.image`)) }),
    volumes: volumes.map((volume) => decodeVolume(volume, `${field}.volumes`)),
    ...(privileged === undefined ? {} : { privileged }),
  }
}

/** What is put into the sandbox, as it travels. */
export function encodeFetch(uris: readonly FetchUri[] = []): FetchUriProto[] {
  return uris.map(({ outputFile, ...rest }) => ({ ...rest, outputFile: outputFile ?? '' }))
}

/** The model's URIs. */
export function decodeFetch(protos: readonly FetchUriProto[]): readonly FetchUri[] {
  return protos.map(({ outputFile, ...rest }) => ({ ...rest, ...(outputFile === '' ? {} : { outputFile }) }))
}

function encodeImage(image: Image): NonNullable<ImageProto['source']> {
  switch (image.kind) {
    case 'directory':
      return { $case: 'directory', value: image.path }
    case 'tarball':
      return { $case: 'tarball', value: image.uri }
    case 'oci':
      return { $case: 'oci', value: { reference: image.reference, forcePull: image.forcePull } }
  }
}

function decodeImage(source: NonNullable<ImageProto['source']>): Image {
  switch (source.$case) {
    case 'directory':
      return { kind: 'directory', path: source.value }
    case 'tarball':
      return { kind: 'tarball', uri: source.value }
    case 'oci':
      return { kind: 'oci', reference: source.value.reference, forcePull: source.value.forcePull }
  }
}

function encodeVolume({ containerPath, mode, source }: VolumeMount): VolumeMountProto {
  const secretSource = source.kind === 'secret' ? (source.source ?? '') : ''
  return { containerPath, readOnly: mode === 'ro', source: encodeSource(source), secretSource }
}

function encodeSource(source: VolumeMount['source']): NonNullable<VolumeMountProto['source']> {
  switch (source.kind) {
    case 'host':
      return { $case: 'hostPath', value: source.path }
    case 'persistent':
      return { $case: 'persistentId', value: source.id }
    case 'shared':
      return { $case: 'sharedPath', value: source.path }
    case 'secret':
      return { $case: 'secret', value: source.value }
  }
}

function decodeVolume(proto: VolumeMountProto, field: string): VolumeMount {
  const { containerPath, readOnly, secretSource } = proto
  const source = decodeSource(required(proto.source, `${field}.source`))
  const named = source.kind === 'secret' && secretSource !== '' ? { ...source, source: secretSource } : source
  return { containerPath, mode: readOnly ? 'ro' : 'rw', source: named }
}

function decodeSource(source: NonNullable<VolumeMountProto['source']>): VolumeMount['source'] {
  switch (source.$case) {
    case 'hostPath':
      return { kind: 'host', path: source.value }
    case 'persistentId':
      return { kind: 'persistent', id: source.value }
    case 'sharedPath':
      return { kind: 'shared', path: source.value }
    case 'secret':
      return { kind: 'secret', value: source.value }
  }
}
