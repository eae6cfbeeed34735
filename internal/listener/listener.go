// Package listener answers HTTP requests until it is told to stop.
package listener

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of a request.
const (
	readWithin  = 10 * time.Second
	drainWithin = 5 * time.Second // for answers, once the server is to end
)

// Serve answers requests until ctx ends, then ends those that wait, by the context of
// each. name says in errors whose listener it is.
func Serve(ctx context.Context, l net.Listener, name string, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler:     h,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ReadTimeout: readWithin, // an answer may take as long as it likes
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("%s: %w", name, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("end the %s: %w", name, err), srv.Close())
	}
	return nil
}
