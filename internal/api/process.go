package api

import (
	"io"
	"net/http"
	"net/http/pprof"
)

// processRoutes are about this process; a test keeps docs/http.md in step with them.
// The profiler's handlers are these and no others: what importing it does to
// http.DefaultServeMux is served nowhere.
func processRoutes(metrics http.Handler) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /healthz": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") },
		"GET /metrics": func(w http.ResponseWriter, r *http.Request) { metrics.ServeHTTP(w, r) },

		"GET /debug/pprof/{profile...}": pprof.Index,
		"GET /debug/pprof/cmdline":      pprof.Cmdline,
		"GET /debug/pprof/profile":      pprof.Profile,
		"GET /debug/pprof/symbol":       pprof.Symbol,
		"GET /debug/pprof/trace":        pprof.Trace,
	}
}
