package source

import (
	"bytes"
	"crypto/sha256"
	"io"
	"syscall"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/dir"
)

// BenchmarkVerify verifies 192 MiB in 12 segments of a directory whose files are in the
// page cache, and does the same with nothing but a loop that hashes them. CPU-s/GB is what the whole process takes for a stored GB (1e9 bytes).
func BenchmarkVerify(b *testing.B) {
	const batches, size = 16, 1 << 20
	a := newAuthor(b)
	e := manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}}
	for at := int64(0); at < 12*batches; at += batches {
		var blocks []written
		for i := at; i < at+batches; i++ {
			blocks = append(blocks, written{0, i, []spec{{base: i, size: size}}})
		}
		a.commit(e, blocks...)
		e = manifest.Entry{}
	}
	st, err := dir.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for key, content := range freeze(b, a.repo.Store()) {
		if _, err := st.Put(b.Context(), key, bytes.NewReader(content), store.PutOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	repo, err := manifest.Open(b.Context(), st)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("bare", func(b *testing.B) {
		before, read := cpuSeconds(b), int64(0)
		for b.Loop() {
			read += hashSegments(b, st)
		}
		b.SetBytes(read / int64(b.N))
		b.ReportMetric((cpuSeconds(b)-before)/(float64(read)/1e9), "CPU-s/GB")
	})
	for level := manifest.LevelIndex; level <= manifest.LevelDecode; level++ {
		b.Run(level.String(), func(b *testing.B) {
			before, read := cpuSeconds(b), int64(0)
			for b.Loop() {
				report, err := Verify(b.Context(), repo, Scope{Level: level}, nil)
				if err != nil || len(report.Damages) > 0 || report.Segments != 12 {
					b.Fatal(report, err)
				}
				read += report.Bytes
			}
			b.SetBytes(read / int64(b.N))
			b.ReportMetric((cpuSeconds(b)-before)/(float64(read)/1e9), "CPU-s/GB")
		})
	}
}

// hashSegments does the least that level digest has to do, on one core: it reads all segments, and hashes them.
func hashSegments(b *testing.B, st store.Store) (read int64) {
	sum, buffer := sha256.New(), make([]byte, 128<<10)
	err := st.List(b.Context(), manifest.SegmentPrefix, func(i store.Info) error {
		body, err := st.Get(b.Context(), i.Key, 0, -1)
		if err != nil {
			return err
		}
		defer body.Close()
		n, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{body}, buffer)
		read += n
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return read
}

func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
