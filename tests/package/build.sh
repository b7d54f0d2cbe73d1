#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# build.sh - builds the packages as `./bootstrap deb` does, elsewhere.
. "$(dirname "$0")/stage.sh"

[ "$DEBS" = "$STAGE/debs" ] || {
	echo "those of $DEBS are taken"
	exit 0
}
export DEB_BUILD_MAINT_OPTIONS=hardening=+all
CFLAGS="$(dpkg-buildflags --get CFLAGS) $(dpkg-buildflags --get CPPFLAGS)"
LDFLAGS=$(dpkg-buildflags --get LDFLAGS)
export CFLAGS LDFLAGS
mkdir -p "$DEBS"
rm -f "$DEBS"/*.deb
cd "$SOURCE"
{
	"$CMAKE" --preset deb -B "$STAGE/build" &&
		"$CMAKE" --build "$STAGE/build" --parallel 2 &&
		"$(dirname "$CMAKE")/cpack" --config "$STAGE/build/CPackConfig.cmake" -B "$DEBS"
} >"$STAGE/build.log" 2>&1 || fail "the packages cannot be built: $(tail -n 40 "$STAGE/build.log")"
rm -rf "$DEBS/_CPack_Packages"
ls "$DEBS"/*.deb
