//go:build e2e

package source

import "github.com/offsite-kafka/offsite/internal/store/faulty"

var sweep = faulty.Faults()
