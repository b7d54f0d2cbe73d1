#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# sysroot.sh DIR - Debian's arm64 libraries that weir and its tests are built with, below DIR. They
# come from the archive that this machine uses, by an apt that keeps its lists in DIR: nothing is
# installed, and no architecture is added to the machine's. Needs no privileges. Does nothing if
# they are there.
set -eu

dir=${1:?usage: sysroot.sh DIR}
packages='libc6-dev libgcc-12-dev libuv1-dev libinih-dev libxxhash-dev libjansson-dev
	libcmocka-dev libncurses-dev zlib1g-dev'

[ "$(cat "$dir/complete" 2>/dev/null || true)" != "$packages" ] || exit 0
rm -rf "$dir"
mkdir -p "$dir/apt/lists/partial" "$dir/apt/archives/partial" "$dir/apt/sources"
dir=$(CDPATH='' cd -- "$dir" && pwd)
# Debian's own archives of this machine; others need not have the architecture
grep -ls '/debian' /etc/apt/sources.list /etc/apt/sources.list.d/* | while read -r file; do
	cp "$file" "$dir/apt/sources"
done
: >"$dir/apt/status"

arm_apt()
{
	apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
		-o Dir::State::lists="$dir/apt/lists" -o Dir::State::status="$dir/apt/status" \
		-o Dir::Cache="$dir/apt" -o Dir::Cache::archives="$dir/apt/archives" \
		-o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$dir/apt/sources" \
		-o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none "$@"
}

arm_apt update
# shellcheck disable=SC2086 # a list of words
arm_apt -y --no-install-recommends --download-only install $packages
for package in "$dir"/apt/archives/*.deb; do
	dpkg-deb -x "$package" "$dir"
done
rm -rf "$dir/apt" "$dir/usr/share"
echo "$packages" >"$dir/complete"
