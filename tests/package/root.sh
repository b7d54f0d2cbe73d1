# SPDX-License-Identifier: Apache-2.0
#
# root.sh - sourced in namespaces of their own (stage.sh, enter): makes $root, this machine's files
# under a layer that takes all writes and is gone with the namespace. /dev, /run, /tmp and what
# the kernel offers to be set are its own or read-only.
set -eu

: "${PRIVATE:?}" "${DEBS:?}"
here=$(dirname "$0")
mount -t tmpfs tmpfs "$PRIVATE"
mkdir "$PRIVATE/upper" "$PRIVATE/work" "$PRIVATE/root"
root=$PRIVATE/root
mount -t overlay overlay \
	-o "lowerdir=/,upperdir=$PRIVATE/upper,workdir=$PRIVATE/work" "$root" 2>"$PRIVATE/why" || {
	echo "skipped: no overlay of / can be mounted here: $(cat "$PRIVATE/why")"
	exit 77
}
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
	: >"$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
ln -s /proc/self/fd "$root/dev/fd"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"

# no trace of a weir that is installed here, and services may start if systemd is there
rm -rf "$root"/etc/weir "$root"/usr/local/bin/weir* "$root"/usr/local/sbin/weird \
	"$root"/usr/local/lib/libweir.so* "$root"/usr/sbin/policy-rc.d
mkdir "$root/run/weir-test"
cp "$DEBS"/*.deb "$here"/life.sh "$here"/booted.sh "$root/run/weir-test"
