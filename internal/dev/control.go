package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// The owner of the processes listens on a socket in the directory, so that
// `tandemail machine start` asks it and the new process still ends with it.
const (
	controlSocket = "control.sock"
	controlTime   = 10 * time.Second
)

// Start asks the running dev command in dir to start a machine that has died.
func Start(ctx context.Context, dir string, name cluster.Machine) (Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTime)
	defer cancel()
	var d net.Dialer
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", filepath.Join(dir, controlSocket))
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://dev/start/"+url.PathEscape(string(name)), nil)
	if err != nil {
		return Machine{}, fmt.Errorf("build request: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return Machine{}, fmt.Errorf("no dev command runs in %s: %w", dir, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return Machine{}, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return Machine{}, errors.New(strings.TrimSpace(string(b)))
	}
	var m Machine
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("answer of the dev command: %w", err)
	}
	return m, nil
}

// maxSocketPath is how long a socket's path may be (sun_path, with its NUL).
const maxSocketPath = 104 - 1

// listenControl takes the place of a socket that an earlier owner left. The caller
// has the directory's lock.
func listenControl(ctx context.Context, dir string) (net.Listener, error) {
	path := filepath.Join(dir, controlSocket)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path %s is too long for a socket: choose a directory of at most %d octets", path, maxSocketPath-len(controlSocket)-1)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return ln, nil
}

// serveControl answers until ctx ends.
func (r *runner) serveControl(ctx context.Context, ln net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /start/{name}", r.handleStart)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: controlTime}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

func (r *runner) handleStart(w http.ResponseWriter, req *http.Request) {
	m, err := r.start(cluster.Machine(req.PathValue("name")))
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	if err := json.NewEncoder(w).Encode(m); err != nil {
		r.log.Debug("answer not sent", "err", err)
	}
}
