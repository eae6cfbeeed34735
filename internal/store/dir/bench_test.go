package dir_test

import (
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/dir"
)

// blocks writes itself as the capture does: in pieces of its own.
type blocks struct {
	block []byte
	n     int
}

func (b blocks) Read([]byte) (int, error) { panic("has a WriteTo") }

func (b blocks) WriteTo(w io.Writer) (n int64, err error) {
	for range b.n {
		m, err := w.Write(b.block)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// BenchmarkPut puts segments of 64 MiB in pieces of several sizes, with and
// without waiting for the disk.
func BenchmarkPut(b *testing.B) {
	for _, sync := range []bool{true, false} {
		for _, piece := range []int{64 << 10, 1 << 20, 8 << 20} {
			b.Run(fmt.Sprintf("sync=%t/%dKiB", sync, piece>>10), func(b *testing.B) {
				s, err := dir.Open(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				if !sync {
					s.FailSync(func(*os.File) error { return nil })
				}
				segment := blocks{make([]byte, piece), 64 << 20 / piece}
				b.SetBytes(64 << 20)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					key := fmt.Sprintf("data/%d", i)
					if _, err := s.Put(b.Context(), key, segment, store.PutOptions{}); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					if err := s.Delete(b.Context(), key); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		}
	}
}
