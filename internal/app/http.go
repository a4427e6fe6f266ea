package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/metrics"
)

const (
	httpHeaderTime = 5 * time.Second
	httpIdleTime   = 2 * time.Minute
)

// serveHTTP serves the API. It comes last: the metrics are of what has been built.
func (m *machine) serveHTTP(g *group) error {
	if m.cfg.Listen.HTTP == "" {
		return nil
	}
	figures, err := metrics.New(m.sources, m.log)
	if err != nil {
		return err
	}
	ln, err := listen(g.ctx, "HTTP", m.cfg.Listen.HTTP)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: api.NewHandler(&backend{m}, figures, m.log), ReadHeaderTimeout: httpHeaderTime, IdleTimeout: httpIdleTime,
	}
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
