package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tandemail/tandemail/internal/api"
)

const (
	httpHeaderTime = 5 * time.Second
	httpIdleTime   = 2 * time.Minute
)

// serveHTTP serves the API and the answer to "is this process alive?".
func (m *machine) serveHTTP(g *group) error {
	if m.cfg.Listen.HTTP == "" {
		return nil
	}
	ln, err := listen(g.ctx, "HTTP", m.cfg.Listen.HTTP)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", api.NewHandler(&backend{m}, m.log))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: httpHeaderTime, IdleTimeout: httpIdleTime}
	g.run("HTTP", func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
		defer stop()
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve HTTP: %w", err)
		}
		return ctx.Err()
	})
	return nil
}
