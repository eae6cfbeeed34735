package cli

import (
	"os"
	"runtime/pprof"
)

// profileVariable names a file that gets a CPU profile of the whole run, in
// the form of go tool pprof; the figures of docs/performance.md come from it.
const profileVariable = "OFFSITE_CPU_PROFILE"

// startProfile begins the profile, if one is asked for, and returns what ends it.
func startProfile() (stop func()) {
	path := os.Getenv(profileVariable)
	if path == "" {
		return func() {}
	}
	f, err := os.Create(path)
	if err != nil {
		return func() {}
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return func() {}
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}
}
