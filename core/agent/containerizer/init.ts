/**
 * First process of every container: `/bin/sh -c initScript weft-init PROGRAM ARGUMENTS…`. The kernel shields the first
 * process of a pid namespace from signals that it has no handler for, so most programs would ignore SIGTERM there; this
 * one passes it on to all processes (`kill -1` spares only the caller), collects orphans, and ends as the program ends.
 */
export const initScript = `
trap 'stop=1; kill -s TERM -- -1 2>/dev/null' TERM
"$@" &
child=$!
[ -z "$stop" ] || kill -s TERM -- -1 2>/dev/null
while :; do
  wait "$child"; status=$?
  [ "$status" -gt 128 ] && kill -0 "$child" 2>/dev/null || exit "$status"
done
`

/**
 * Makes the root file system of a container that has an image, then becomes the runtime; inside the supervisor, in a mount
 * namespace of its own: no mount is left behind, however anything ends. `/bin/sh -c rootfsScript weft-rootfs FOLDER LOG
 * RUNTIME ARGUMENTS…`; FOLDER has `lower` (a link), `upper`, `work` and `rootfs`. Relative names: the options of mount(8)
 * can't have every character. Where no overlay can be made (FOLDER lies on one), the image is copied.
 */
export const rootfsScript = `
cd "$1" || exit 1
log=$2
shift 2
mount -t overlay weft -o lowerdir=lower,upperdir=upper,workdir=work rootfs 2>"$log" ||
  cp -a lower/. rootfs/ 2>>"$log" || exit 1
cd /
exec "$@"
`

/** Arguments that run {@link rootfsScript} in a mount namespace of its own. */
export const inOwnMounts = [
  'unshare',
  '--mount',
  '--propagation',
  'slave',
  '/bin/sh',
  '-c',
  rootfsScript,
  'weft-rootfs',
] as const

/**
 * Supervisor of a container, outside of it, in its own session so that it outlives the agent:
 * `/bin/sh -c superviseScript weft-supervise EVENTS_DIR ID RUNTIME ARGUMENTS…`. The exit status is told by a rename,
 * which needs no disk space: a task's end is known on a full disk too.
 */
export const superviseScript = `
cd "$1" || exit 1
id=$2
shift 2
echo $$ > "$id.running"
"$@"
mv -f "$id.running" "$id.exit.$?" 2>/dev/null
`
