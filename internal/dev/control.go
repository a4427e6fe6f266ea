package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/tandemail/tandemail/internal/cluster"
)

// The owner of the processes listens on a socket in the directory, so that
// `tandemail machine start` asks it and the new process still ends with it.
const controlSocket = "control.sock"

// Start asks the running dev command in dir to start a machine that has died.
func Start(ctx context.Context, dir string, name cluster.Machine) (Machine, error) {
	var d net.Dialer
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", filepath.Join(dir, controlSocket))
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://dev/start/"+string(name), nil)
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
		return Machine{}, errors.New(string(b))
	}
	var m Machine
	return m, json.Unmarshal(b, &m)
}

// running reports whether a dev command owns dir now.
func running(dir string) bool {
	conn, err := net.Dial("unix", filepath.Join(dir, controlSocket))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// serveControl answers until ctx ends.
func (r *runner) serveControl(ctx context.Context) error {
	path := filepath.Join(r.layout.Dir, controlSocket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove old socket: %w", err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /start/{name}", r.handleStart)
	srv := &http.Server{Handler: mux}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", path, err)
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
