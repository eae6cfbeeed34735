package docs_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/metrics/metricstest"
)

// metric is one as the page and the program tell of it.
type metric struct {
	kind   string
	labels []string
}

// exported returns the metrics that a busy backupd has.
func exported(t *testing.T) map[string]metric {
	t.Helper()
	w := httptest.NewRecorder()
	metricstest.Busy().Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	list, name := make(map[string]metric), ""
	label := regexp.MustCompile(`[{,](\w+)="`)
	for line := range strings.Lines(w.Body.String()) {
		if words := strings.Fields(line); strings.HasPrefix(line, "# TYPE backupd_") {
			name = words[2]
			list[name] = metric{kind: words[3]}
			continue
		}
		m := list[name]
		if !strings.HasPrefix(line, "backupd_") || m.labels != nil {
			continue
		}
		for _, l := range label.FindAllStringSubmatch(line, -1) {
			if l[1] != "le" {
				m.labels = append(m.labels, l[1])
			}
		}
		list[name] = m
	}
	return list
}

// Every metric is in the page with its type and labels, and the page has no other.
func TestMetrics(t *testing.T) {
	text, want := page(t, "metrics.md"), exported(t)
	documented := make(map[string]metric)
	for _, m := range regexp.MustCompile("(?m)^\\| `(backupd_\\w+)` \\| (\\w+) \\|([^|]*)\\|").FindAllStringSubmatch(text, -1) {
		var labels []string
		if list := strings.Trim(m[3], "` "); list != "" {
			labels = strings.Split(list, "`, `")
		}
		documented[m[1]] = metric{m[2], labels}
	}
	if len(want) < 30 {
		t.Errorf("the program has only %d metrics", len(want))
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		got, ok := documented[name]
		if !ok {
			t.Errorf("%s is not in the page", name)
		} else if got.kind != want[name].kind || !slices.Equal(got.labels, want[name].labels) {
			t.Errorf("%s: the page says %v, it is %v", name, got, want[name])
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("the page has a metric %s, which is none", name)
	}
}

// What alerts and other pages ask for is a metric.
func TestMetricNames(t *testing.T) {
	known := exported(t)
	for _, path := range []string{"metrics.md", "operations.md", "cli.md", "config.md", "../README.md"} {
		for _, name := range regexp.MustCompile(`\bbackupd_[a-z_]+\b`).FindAllString(page(t, path), -1) {
			if _, ok := known[name]; !ok {
				t.Errorf("%s names %s, which is no metric", path, name)
			}
		}
	}
}
