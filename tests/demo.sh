#!/bin/sh
# A container from a busybox image through its life. Prints each command and what it answered; leaves nothing behind.
# OCIRT: the program to show; the checkout's own by default.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
program=${OCIRT:-$here/ocirt/_bin/ocirt}
work=$(mktemp -d)
name=demo-$$

ocirt() {
	"$program" --root "$work/state" "$@"
}

clean() {
	ocirt delete --force "$name" >/dev/null 2>&1 || true
	ocirt delete --force "$name-run" >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM

show() {
	printf '\n$ %s\n' "$*"
	"$@"
}

# The umoci of a user other than root must not try to chown.
rootless=
[ "$(id -u)" = 0 ] || rootless=--rootless

cd "$work"
echo "== an image with busybox, and a bundle from it (umoci)"
show umoci init --layout image
show umoci new --image image:busybox
show umoci unpack $rootless --image image:busybox empty
mkdir -p empty/rootfs/bin empty/rootfs/proc empty/rootfs/sys empty/rootfs/dev empty/rootfs/etc empty/rootfs/tmp
cp /bin/busybox empty/rootfs/bin/
for applet in $(/bin/busybox --list); do
	[ "$applet" = busybox ] || ln -s busybox "empty/rootfs/bin/$applet"
done
show umoci repack --image image:busybox empty
show umoci config --image image:busybox --config.cmd sleep --config.cmd 600
show umoci unpack $rootless --image image:busybox bundle
# umoci asks for a terminal, which needs an engine at its other end.
sed -i 's/"terminal": true/"terminal": false/' bundle/config.json

echo
echo "== one container, step by step (each with --root $work/state)"
show ocirt create --bundle bundle "$name" </dev/null
show ocirt state "$name"
show ocirt start "$name"
show ocirt list
show ocirt state "$name"
show ocirt kill "$name" KILL
tries=0
while ! ocirt state "$name" | grep -q '"stopped"'; do
	tries=$((tries + 1))
	[ "$tries" -lt 100 ] || { echo "still alive after 5 s" >&2; exit 1; }
	sleep 0.05
done
show ocirt delete "$name"
show ocirt list

echo
echo "== run: in the foreground, its exit code passed on"
umoci config --image image:busybox --config.cmd sh --config.cmd -c \
	--config.cmd 'echo "hello from process $$ of $(hostname), user $(id -u)"; exit 7'
umoci unpack $rootless --image image:busybox second
sed -i 's/"terminal": true/"terminal": false/' second/config.json
code=0
show ocirt run --bundle second "$name-run" || code=$?
echo "exit code: $code"
[ "$code" = 7 ]
