#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# inspect.sh - what is in the packages: all that is installed, each file in one package, in the
# one it belongs to; dependencies that are right; nothing that lintian complains of.
. "$(dirname "$0")/stage.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

one()
{
	set -- "$DEBS/$1"_*.deb
	[ $# -eq 1 ] && [ -f "$1" ] || fail "not one package: $*"
	echo "$1"
}

field()
{
	dpkg-deb -f "$(one "$1")" "$2"
}

for package in $packages; do
	dpkg-deb -c "$(one $package)" | awk '$1 !~ /^d/ { print $6 }' | sed 's/^\.//' \
		>"$work/$package"
	cat "$work/$package" >>"$work/all"
	for file in copyright changelog.Debian.gz; do
		grep -qx "/usr/share/doc/$package/$file" "$work/$package" ||
			fail "$package has no $file"
	done
done
same 'files that are in two packages' '' "$(sort "$work/all" | uniq -d)"

# has PACKAGE PATTERN...
has()
{
	package=$1
	shift
	for pattern in "$@"; do
		grep -q "^$pattern\$" "$work/$package" || fail "$package has no $pattern"
	done
}
has libweir-dev '/usr/lib/.*/weir-config\.cmake' \
	/usr/share/doc/weir/examples/acquire.c
has weird /usr/sbin/weird /etc/weir/weir.ini /usr/lib/systemd/system/weird.service \
	/usr/lib/sysusers.d/weir.conf /usr/lib/tmpfiles.d/weir.conf \
	/usr/share/man/man8/weird.8.gz /usr/share/man/man5/weir.ini.5.gz \
	/usr/share/man/man5/weir-segment.5.gz /usr/share/man/man7/weir.7.gz \
	/usr/share/man/man7/weir-fields.7.gz
has weirctl /usr/bin/weirctl /usr/share/man/man1/weirctl.1.gz \
	/usr/bin/weir-sim /usr/share/man/man1/weir-sim.1.gz \
	/usr/share/bash-completion/completions/weirctl /usr/share/zsh/vendor-completions/_weirctl
case " $packages " in
*' weir-fetch '*)
	has weir-fetch /usr/bin/weir-fetch /usr/share/man/man1/weir-fetch.1.gz \
		/usr/share/bash-completion/completions/weir-fetch \
		/usr/share/zsh/vendor-completions/_weir-fetch
	;;
esac
for library in $LIBRARIES; do
	has "lib${library}0" "/usr/lib/[^/]*/lib$library\.so\.0"
	has "lib$library-dev" "/usr/include/$library.h" "/usr/lib/[^/]*/lib$library\.so" \
		"/usr/lib/.*/$library\.pc" "/usr/lib/.*/$library-targets\.cmake" \
		"/usr/share/man/man3/lib$library.3.gz"
	for topic in "$SOURCE/include/$library"/*.h; do
		[ ! -f "$topic" ] || has "lib$library-dev" "/usr/include/$library/$(basename "$topic")"
	done
	case $library in
	weir) map=$SOURCE/client/libweir.map ;;
	*) map=$SOURCE/client/${library#weir-}/lib$library.map ;;
	esac
	for function in $(sed -n 's/^\t\(weir_[a-z_]*\);/\1/p' "$map"); do
		has "lib$library-dev" "/usr/share/man/man3/$function.3.gz"
	done
	same "lib${library}0: files outside of the library and its notices" '' "$(grep -v \
		"^/usr/lib/[^/]*/lib$library\.so\|^/usr/share/doc/lib${library}0/" \
		"$work/lib${library}0" || true)"
done
for page in "$SOURCE"/doc/man/*.[1-8]; do
	grep -q "/$(basename "$page").gz\$" "$work/all" || fail "no package has $page"
done
version=$(field weird Version)
for package in $packages; do
	same "$package: version" "$version" "$(field $package Version)"
	same "$package: architecture" "$(dpkg --print-architecture)" "$(field $package Architecture)"
done
# depends PACKAGE PATTERN...: each is one of its dependencies
depends()
{
	package=$1
	shift
	for pattern in "$@"; do
		field "$package" Depends | tr ',' '\n' | sed 's/^ *//' | grep -qx "$pattern" ||
			fail "$package does not depend on $pattern: $(field "$package" Depends)"
	done
}
depends libweir0 'libc6 (>= [0-9.]*)'
same 'libweir0: dependencies' 1 "$(field libweir0 Depends | tr ',' '\n' | wc -l)"
depends weird 'libc6 (>= [0-9.]*)' 'libuv1 (>= [0-9.]*)' 'systemd | .*systemd-sysusers'
depends weirctl 'libc6 (>= [0-9.]*)' "libweir0 (= $version)" 'libjansson4 (>= [0-9.]*)' \
	'libtinfo6 (>= [0-9.]*)' 'zlib1g (>= [0-9.:]*)'
for library in $LIBRARIES; do
	depends "lib$library-dev" "lib${library}0 (= $version)"
	[ "$library" = weir ] || depends "lib${library}0" "libweir0 (= $version)"
	[ "$library" = weir ] || depends "lib$library-dev" "libweir-dev (= $version)"
	same "lib${library}0: shlibs" "lib$library 0 lib${library}0 (>= ${version%-*})" \
		"$(dpkg-deb -I "$(one "lib${library}0")" shlibs)"
done
same 'weird: conffiles' /etc/weir/weir.ini "$(dpkg-deb -I "$(one weird)" conffiles)"
for script in postinst prerm postrm; do
	dpkg-deb -I "$(one weird)" "$script" | sh -n || fail "weird: $script"
done

# stripped, and what Debian hardens is hardened
for package in $packages; do
	dpkg-deb -x "$(one $package)" "$work/root"
done
for object in "$work"/root/usr/sbin/weird "$work"/root/usr/bin/weirctl "$work"/root/usr/bin/weir-sim \
	"$work"/root/usr/lib/*/libweir*.so.0.*; do
	file "$object" | grep -q ', stripped' || fail "$object is not stripped"
	readelf -dW "$object" | grep -q 'BIND_NOW\|Flags: .*NOW' || fail "$object binds lazily"
	! readelf -dW "$object" | grep 'RPATH\|RUNPATH' || fail "$object names a library path"
done

if command -v lintian >/dev/null; then
	# the first: this is no upload to Debian; the second: cpack always writes the calls
	complaints=$(lintian --allow-root --suppress-tags \
		initial-upload-closes-no-bugs,maintscript-calls-ldconfig "$DEBS"/*.deb) ||
		fail "lintian: $complaints"
	same 'what lintian says' '' "$complaints"
	echo "lintian has no complaint"
else
	echo "not checked: what lintian says (it is not there)"
fi
echo "$(wc -l <"$work/all") files in $(echo "$packages" | wc -w) packages, version $version"
