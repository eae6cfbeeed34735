# A machine needs Go 1.26, a JDK 17 and Maven. Everything else is fetched: modules and the linter into Go's caches and
# .cache, Kafka's jars and an S3 server into .cache.

.PHONY: build test unit e2e soak lint bench demo race fuzz clean

GO       ?= go
FUZZTIME ?= 1m
export GOWORK := off
# The same for all that is built here, so that each package is compiled once.
export CGO_ENABLED := 0
export GOFLAGS := $(shell $(GO) env GOFLAGS) -trimpath

LINTER := .cache/golangci-lint/golangci-lint
# The packages with tests that start real servers.
E2E = $$(grep -rl --include='*_test.go' '^//go:build e2e' cmd internal test | xargs -n1 dirname | sort -u | sed 's|^|./|')

build:
	$(GO) build -o bin/ ./cmd/...

# Everything that can be checked on this machine, from the cheap to the dear. Fuzzing takes what the tests against
# servers leave, which wait a lot.
test: build lint unit
	@$(MAKE) --no-print-directory -j2 e2e fuzz

# Needs no server and no network.
unit:
	$(GO) vet ./...
	$(GO) test -count=1 ./...

# The tests in files with the tag; what else is in their packages is a unit test. One package at a time: the brokers of
# several are too much for a small machine. Three tests that call t.Parallel run at once: they wait more than they work.
e2e: build
	$(GO) vet -tags e2e ./...
	$(GO) run ./test/bed fetch
	@failed=; for dir in $(E2E); do \
		tests=$$(grep -l '^//go:build e2e' $$dir/*_test.go | xargs grep -hoE '^func Test[^a-z(][A-Za-z0-9_]*' | sed 's/^func //' | grep -v '^TestMain$$' | paste -sd'|' -); \
		test -n "$$tests" || { echo "$$dir: no tests in its files with the tag e2e"; failed=1; continue; }; \
		echo "$(GO) test -count=1 -tags e2e -parallel 3 -timeout 35m -run '^($$tests)\$$' $$dir"; \
		$(GO) test -count=1 -tags e2e -parallel 3 -timeout 35m -run "^($$tests)\$$" $$dir || failed=1; \
	done; test -z "$$failed"

# The loops of test/e2e with larger counts, for hours; test/README.md says what they count. For one of them, with another
# count: make soak SOAK_RUN=TestRace OFFSITE_TEST_RACES=9
SOAK_RUN ?= ^Test(KillBackupd|KillRestored|FailoverDuringBackup|FailoverDuringRestore|Race|UpkeepKilled|Bank|GroupTimes|ChainOfApplications|Sweep)$$
soak: export OFFSITE_TEST_BACKUPD_KILLS ?= 1000
soak: export OFFSITE_TEST_RESTORED_KILLS ?= 500
soak: export OFFSITE_TEST_BACKUP_FAILOVERS ?= 60
soak: export OFFSITE_TEST_RESTORE_FAILOVERS ?= 10
soak: export OFFSITE_TEST_RACES ?= 60
soak: export OFFSITE_TEST_UPKEEPS ?= 100
soak: export OFFSITE_TEST_BANK_POINTS ?= 120
soak: export OFFSITE_TEST_BANK_RESTORES ?= 600
soak: export OFFSITE_TEST_GROUP_QUESTIONS ?= 20000
soak: export OFFSITE_TEST_CHAIN_MODES ?= 2
soak: export OFFSITE_TEST_SWEEP_TRIALS ?= 0
soak: export OFFSITE_TEST_SWEEP_PAIRS ?= 5000
soak: build
	$(GO) run ./test/bed fetch
	$(GO) test -count=1 -tags e2e -timeout 0 -v -run '$(SOAK_RUN)' ./test/e2e ./test/sweep

lint: $(LINTER)
	$(LINTER) run --allow-parallel-runners

$(LINTER): test/golangci-lint/go.mod test/golangci-lint/go.sum
	$(GO) build -C test/golangci-lint -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@

bench: build
	$(GO) run ./test/bench

# A cluster is lost and brought back, in seconds, without a JVM.
demo: build
	$(GO) run ./test/demo

# Needs a C compiler.
race:
	CGO_ENABLED=1 $(GO) test -race -count=1 ./...

# Each fuzz target for FUZZTIME.
fuzz:
	@GO="$(GO)" FUZZTIME=$(FUZZTIME) test/fuzz.sh

# The cache stays: it holds only what is fetched from elsewhere.
clean:
	rm -rf bin
