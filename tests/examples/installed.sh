#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# installed.sh - the examples compile and run with what is installed and nothing else: weir.h,
# libweir, pkg-config or CMake. weir.h is C++ as well.
. "$(dirname "$0")/stage.sh"

[ -z "$SANITIZE" ] && [ "$COVERAGE" = 0 ] || {
	echo "skipped: an instrumented library needs instrumented programs; release covers it"
	exit 77
}

root=$stage/root
DESTDIR=$root "$CMAKE" --install "$BUILD" >"$stage/install.log" 2>&1 ||
	fail "installing failed: $(cat "$stage/install.log")"

export PKG_CONFIG_PATH="$root$LIBDIR/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$root"
cp "$SOURCE"/doc/examples/*.c "$SOURCE"/doc/examples/attach.h "$stage"
mkdir "$stage/bin"
flags=$(pkg-config --cflags --libs weir) || fail "pkg-config does not know weir"
for example in acquire wait prefork prefork_permits llm_budget observe respond several simulate; do
	# shellcheck disable=SC2086 # words
	$CC -std=c11 -Wall -Wextra -Wpedantic -Werror -o "$stage/bin/$example" \
		"$stage/$example.c" $flags || fail "$example does not compile"
done
flags_uv=$(pkg-config --cflags --libs weir-uv) || fail "pkg-config does not know weir-uv"
for example in executor executor_prefork; do
	# shellcheck disable=SC2086 # words
	$CC -std=c11 -Wall -Wextra -Wpedantic -Werror -o "$stage/bin/$example" \
		"$stage/$example.c" $flags_uv || fail "$example does not compile"
done

export LD_LIBRARY_PATH="$root$LIBDIR"
EXAMPLES=$stage/bin sh "$(dirname "$0")/run.sh" || fail "the examples fail as installed"
unset LD_LIBRARY_PATH

# what shells complete from is where they look, and is what the installed program prints
share=$root$PREFIX/share
same 'completion of bash' "$("$root$PREFIX/bin/weirctl" completion bash)" \
	"$(cat "$share/bash-completion/completions/weirctl")"
case $PREFIX in
/usr) zsh=$share/zsh/vendor-completions ;;
*) zsh=$share/zsh/site-functions ;;
esac
same 'completion of zsh' "$("$root$PREFIX/bin/weirctl" completion zsh)" "$(cat "$zsh/_weirctl")"

# find_package(weir)
mkdir "$stage/project"
cat >"$stage/project/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C)
find_package(weir 0.1 REQUIRED COMPONENTS uv)
add_executable(acquire $stage/acquire.c)
target_link_libraries(acquire PRIVATE weir::weir)
add_executable(executor $stage/executor.c)
target_link_libraries(executor PRIVATE weir::uv)
find_package(weir 0.1 QUIET COMPONENTS nothing)
if(weir_FOUND)
	message(FATAL_ERROR "there is no weir::nothing")
endif()
END
unset PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH
"$CMAKE" -G Ninja -S "$stage/project" -B "$stage/project/build" -DCMAKE_C_COMPILER="$CC" \
	-DCMAKE_PREFIX_PATH="$root$PREFIX" >"$stage/cmake.log" 2>&1 &&
	"$CMAKE" --build "$stage/project/build" >>"$stage/cmake.log" 2>&1 ||
	fail "find_package(weir): $(cat "$stage/cmake.log")"
same 'acquire, by find_package' 'api.example.com: admitted, 9 tokens left' \
	"$("$stage/project/build/acquire" --private)"
same 'executor, by find_package' 'stopped: 12 done, 1 cancelled' \
	"$("$stage/project/build/executor" --private | tail -n 1)"

if command -v c++ >/dev/null; then
	cat >"$stage/header.cc" <<'END'
#include <weir.h>

int main()
{
	struct weir_options options = WEIR_OPTIONS_INIT;
	struct weir *weir = nullptr;

	return weir_open(&weir, &options) == WEIR_EABSENT ? 0 : 1;
}
END
	# shellcheck disable=SC2086 # words
	c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -o "$stage/header" "$stage/header.cc" \
		$flags || fail "weir.h is not C++"
	sed -i 's/weir\.h/weir-uv.h/' "$stage/header.cc"
	# shellcheck disable=SC2086 # words
	c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -o "$stage/header" "$stage/header.cc" \
		$flags_uv || fail "weir-uv.h is not C++"
else
	echo "not checked: weir.h as C++ (no c++)"
fi
echo "the examples compile and run with what is installed"
