#!/usr/bin/env bash
# Runs each fuzz target beside the code for FUZZTIME, one after the other and with what the machine has to spare: make test
# does it beside tests that mostly wait. The first one that finds something ends it, and says what, and how to see it again.
set -euo pipefail
set -m # a target is a process group, of which nothing stays behind
cd "$(dirname "$0")/.."

GO=${GO:-go} FUZZTIME=${FUZZTIME:-1m}
work=$(mktemp -d)
log=$work/log
cache=$("$GO" env GOCACHE)/fuzz # where go test keeps what it finds interesting
running= built=
finish() {
	[ -z "$running" ] || kill -KILL -- "-$running" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

build() { # folder; once for all its targets
	[ "$built" != "$1" ] || return 0
	nice "$GO" test -c -fuzz . -o "$work/fuzz.test" "./$1" &
	running=$!
	wait "$running"
	running= built=$1
}

fuzz() { # folder, target
	build "$1"
	(cd "$1" && exec nice -n 19 "$work/fuzz.test" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$FUZZTIME" -test.fuzzminimizetime 10s -test.parallel 1 \
		-test.fuzzcachedir "$cache/$("$GO" list .)") >"$log" 2>&1 &
	running=$!
	local status=0
	wait "$running" || status=$?
	running=
	if [ "$status" -ne 0 ]; then
		printf 'fuzz: FAIL: %s of %s\n' "$2" "$1"
		cat "$log"
		# What Go has written to testdata goes away with the machine.
		sed -n 's/^ *Failing input written to //p' "$log" | while read -r input; do
			printf 'To see it again, put this into %s, and run go test -run=%s ./%s\n' "$1/$input" "$2/$(basename "$input")" "$1"
			cat "$1/$input"
		done
		exit 1
	fi
	printf 'fuzz: %s of %s: %s\n' "$2" "$1" "$(sed -n 's/^fuzz: elapsed: //p' "$log" | tail -n 1)"
}

while read -r dir target <&3; do
	fuzz "$dir" "$target"
done 3< <(grep -rE --include='*_test.go' '^func Fuzz' internal | sed -E 's|^(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]*)\(.*|\1 \2|' | sort)
