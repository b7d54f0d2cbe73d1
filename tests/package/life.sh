# SPDX-License-Identifier: Apache-2.0
#
# life.sh - in a root of its own, without systemd running: install, configure, use, upgrade,
# remove, purge. Afterwards no file is there that was not before.
# shellcheck disable=SC2086 # $packages is a list of names
set -eu
cd /run/weir-test
export DEBIAN_FRONTEND=noninteractive

fail()
{
	echo "fault: $*" >&2
	exit 1
}

# quiet COMMAND...: its output only if it fails
quiet()
{
	"$@" >out 2>&1 || fail "$*: $(cat out)"
}

files()
{
	# not what dpkg, ldconfig and man-db keep about all packages
	find /etc /usr /var /run /dev/shm /opt /root /home /srv -xdev \
		! -path '/run/weir-test*' ! -path '/var/lib/dpkg/*' ! -path '/var/cache/man*' \
		! -path '/var/cache/ldconfig*' ! -path '/run/systemd*' 2>/dev/null | sort
}

weird_pid=
start()
{
	weird 2>weird.log &
	weird_pid=$!
	tries=0
	until grep -q ready weird.log; do
		kill -0 "$weird_pid" 2>/dev/null || fail "weird did not start: $(cat weird.log)"
		tries=$((tries + 1))
		[ "$tries" -lt 200 ] || fail "weird does not become ready"
		sleep 0.05
	done
}

stop()
{
	kill "$weird_pid"
	wait "$weird_pid" || fail "weird ended with $?"
}

packages=$(for package in ./*.deb; do dpkg-deb -f "$package" Package; done)

files >before
quiet dpkg -i ./*.deb
[ -z "$(dpkg --audit)" ] || fail "dpkg --audit: $(dpkg --audit)"
[ -z "$(dpkg --verify $packages)" ] || fail "dpkg --verify"

# what the scripts did
grep -q '^weir:' /etc/group || fail "no group weir"
[ "$(stat -c '%a %U' /run/weir)" = '755 root' ] || fail "/run/weir: $(stat -c '%a %U' /run/weir)"
[ -L /etc/systemd/system/multi-user.target.wants/weird.service ] || fail "weird is not enabled"

# the unit
if command -v systemd-analyze >/dev/null; then
	said=$(systemd-analyze verify weird.service 2>&1) || fail "systemd-analyze verify: $said"
	[ -z "$said" ] || fail "systemd-analyze verify: $said"
	systemd-analyze security --offline=true --threshold=15 weird.service >out 2>&1 ||
		fail "the unit is exposed: $(tail -n 3 out)"
	sed -n 's/.*\(Overall exposure.*[0-9]\).*/\1/p' out
else
	echo "not checked: the unit (no systemd-analyze)"
fi

# the system's instance, and a user's
weird --check >out || fail "weird --check: $(cat out)"
grep -q '^/etc/weir/weir.ini: no faults' out || fail "weird --check: $(cat out)"
start
[ "$(stat -c '%a %U:%G' /dev/shm/weir.default.state)" = '660 root:weir' ] ||
	fail "the state object: $(stat -c '%a %U:%G' /dev/shm/weir.default.state)"
quiet weirctl list
quiet weirctl acquire api.example.com
quiet weirctl set api.example.com rate=5/s burst=7
stop
mkdir -m 700 own
(
	export WEIR_NAME=own WEIR_SHM_DIR=/run/weir-test/own
	start
	quiet weirctl run job -- true
	stop
)

# a program
if command -v cc >/dev/null && command -v pkg-config >/dev/null; then
	# shellcheck disable=SC2046 # words
	quiet cc -o acquire /usr/share/doc/weir/examples/acquire.c \
		$(pkg-config --cflags --libs weir)
	quiet ./acquire --private
	./acquire api.example.com | grep -q '^api.example.com: admitted, [56]' ||
		fail "acquire: $(./acquire api.example.com)"
else
	echo "not checked: libweir-dev with a compiler (no cc or pkg-config)"
fi
if command -v man >/dev/null; then
	quiet man -w weir_close weir_wait libweir weird weirctl weir.ini weir-fields weir-segment
fi

# an upgrade keeps what was changed: the settings, and the levels of the segment that is adopted
echo '# changed here' >>/etc/weir/weir.ini
sed -i 's|^# state_file = |state_file = |' /etc/weir/weir.ini
mkdir -m 700 /var/lib/weir # under systemd its StateDirectory
quiet dpkg --no-triggers -i --force-confdef ./*.deb
grep -q '# changed here' /etc/weir/weir.ini || fail "the upgrade lost changes in weir.ini"
start
weirctl show api.example.com >out || fail "weirctl show: $(cat out)"
grep -q '5/s' out || fail "the upgrade lost the limit that was set: $(cat out)"
stop
[ -s /var/lib/weir/default.state ] || fail "weird saved no levels"

quiet dpkg --no-triggers --remove $packages
[ -f /etc/weir/weir.ini ] || fail "the removal took weir.ini away"
[ -f /dev/shm/weir.default.state ] || fail "the removal took the limits away"
[ -s /var/lib/weir/default.state ] || fail "the removal took the saved levels away"
quiet dpkg --no-triggers --purge $packages
files >after
diff before after >out || fail "the purge left, or took, files: $(cat out)"
! dpkg-query -W -f '${binary:Package} ${db:Status-Status}\n' '*weir*' 2>/dev/null |
	grep -v not-installed || fail "dpkg still knows them"
echo "installed, used, upgraded, removed and purged; no file is left"
