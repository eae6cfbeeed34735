// Package admin is how a running backupd is asked for something: HTTP with JSON
// on a loopback address, the server and its client. Who can reach the address
// may ask, so that nothing here can lose data.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"time"

	"github.com/offsite-kafka/offsite/internal/listener"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Points makes recovery points.
type Points interface {
	// Point waits for one that begins after the call and has the given name. The
	// error is manifest.ErrPointName, manifest.ErrNameTaken, or that of ctx.
	Point(ctx context.Context, name string) (manifest.PointRef, error)
}

// maxRequest bounds the body of a request, in bytes.
const maxRequest = 4 << 10

// pointsPath is where points are asked for.
const pointsPath = "/v1/points"

type pointRequest struct {
	Name string `json:"name"`
}

type pointAnswer struct {
	SchemaVersion int       `json:"schemaVersion"`
	Point         uint64    `json:"point"`
	Name          string    `json:"name"`
	Time          time.Time `json:"time"`
}

// failure is every answer that is no success.
type failure struct {
	SchemaVersion int    `json:"schemaVersion"`
	Error         string `json:"error"`
	Reason        string `json:"reason,omitempty"` // for programs
}

// The reasons of failures.
const (
	reasonName  = "invalid-name"
	reasonTaken = "name-taken"
)

// Serve answers requests until ctx ends, then ends those that wait.
func Serve(ctx context.Context, l net.Listener, points Points, log *slog.Logger) error {
	return listener.Serve(ctx, l, "admin listener", handler(points, log), log)
}

func handler(points Points, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"schemaVersion": 1, "status": "ok"})
	})
	mux.HandleFunc("POST "+pointsPath, func(w http.ResponseWriter, r *http.Request) { createPoint(w, r, points, log) })
	return mux
}

func createPoint(w http.ResponseWriter, r *http.Request, points Points, log *slog.Logger) {
	// A web page of somebody else's can post forms, but not this type.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		answer(w, http.StatusUnsupportedMediaType, failure{1, "the Content-Type must be application/json", ""})
		return
	}
	var req pointRequest
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		answer(w, http.StatusBadRequest, failure{1, "the body must be {\"name\":\"…\"}: " + err.Error(), ""})
		return
	}
	p, err := points.Point(r.Context(), req.Name)
	if err != nil {
		status, reason := statusOf(err)
		answer(w, status, failure{1, err.Error(), reason})
		return
	}
	log.Info("recovery point made on request", "point", p.Sequence, "name", p.Name)
	answer(w, http.StatusCreated, pointAnswer{1, p.Sequence, p.Name, time.UnixMilli(p.Time).UTC()})
}

func statusOf(err error) (status int, reason string) {
	switch {
	case errors.Is(err, manifest.ErrPointName):
		return http.StatusBadRequest, reasonName
	case errors.Is(err, manifest.ErrNameTaken):
		return http.StatusConflict, reasonTaken
	}
	return http.StatusServiceUnavailable, ""
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked has gone
}
