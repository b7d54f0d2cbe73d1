#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# install.sh - the packages in a root of their own: see life.sh.
if [ -z "${PRIVATE:-}" ]; then
	. "$(dirname "$0")/stage.sh"
	script=$0
	enter
	exit "$entered"
fi
. "$(dirname "$0")/root.sh"
exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
	sh /run/weir-test/life.sh
