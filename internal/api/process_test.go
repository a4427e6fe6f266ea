package api

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func get(t *testing.T, c *Client, path string) (int, string) {
	t.Helper()
	resp, err := c.HTTP.Get(c.Base + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestProcessTellsOfItself(t *testing.T) {
	c := newTestClient(t, io.Discard)
	for path, want := range map[string]string{
		"/healthz":                         "ok\n",
		"/metrics":                         "figures 7\n",
		"/debug/pprof/":                    "goroutine?debug=1",
		"/debug/pprof/goroutine?debug=1":   "goroutine profile: total ",
		"/debug/pprof/heap?debug=1":        "heap profile: ",
		"/debug/pprof/cmdline":             "api.test",
		"/debug/pprof/symbol":              "num_symbols: 1",
		"/debug/pprof/trace?seconds=0.001": "go 1.",
	} {
		if code, body := get(t, c, path); !strings.Contains(body, want) || code != http.StatusOK {
			t.Errorf("%s: %d %.100q", path, code, body)
		}
	}
}

func TestProcessIsOnlyLookedAt(t *testing.T) {
	c := newTestClient(t, io.Discard)
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/profile", "/healthz"} {
		resp, err := c.HTTP.Post(c.Base+path, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %s", path, resp.Status)
		}
	}
}
