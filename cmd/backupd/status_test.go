package main

import (
	"bytes"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// A point is late by what was usual in this repository, not by a configuration.
func TestOverduePoint(t *testing.T) {
	every := func(d time.Duration, n int) (list []manifest.PointRef) {
		for i := range n {
			list = append(list, manifest.PointRef{Time: (time.Duration(i) * d).Milliseconds()})
		}
		return list
	}
	for _, tc := range []struct {
		name   string
		points []manifest.PointRef
		age    time.Duration
		want   string
	}{
		{"no point", nil, time.Hour, ""},
		{"one point", every(0, 1), time.Hour, ""},
		{"every 10 s, quiet", every(10*time.Second, 50), 179 * time.Second, ""},
		{"every 10 s, late", every(10*time.Second, 50), 181 * time.Second, "3m1s old, usual is one every 1m0s"},
		{"every 5 minutes", every(5*time.Minute, 3), 14 * time.Minute, ""},
		{"every 5 minutes, late", every(5*time.Minute, 3), 15 * time.Minute, "15m0s old, usual is one every 5m0s"},
		{"once a day", every(24*time.Hour, 2), 50 * time.Hour, ""},
		{"after an outage", append(every(10*time.Second, 8), manifest.PointRef{Time: time.Hour.Milliseconds()}), 4 * time.Minute, "every 1m0s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := time.UnixMilli(0).Add(tc.age)
			if n := len(tc.points); n > 0 {
				now = time.UnixMilli(tc.points[n-1].Time).Add(tc.age)
			}
			got := strings.Join(overdue(tc.points, now), "; ")
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestStatusPrintsWarnings(t *testing.T) {
	var out bytes.Buffer
	if err := (&status{Warnings: []string{"late"}}).print(tabwriter.NewWriter(&out, 0, 4, 2, ' ', 0), time.Now()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "WARNING") || !strings.Contains(out.String(), "late") {
		t.Errorf("it prints\n%s", out.String())
	}
}
