// Package dev runs a whole cluster of three machines on loopback: three real
// processes of this same binary, so that one can really be killed, each with all
// roles. It is what `tandemail dev` shows and what the end-to-end tests drive.
//
// The layout of a dev directory: dev.json (what was chosen, who runs where),
// lock and control.sock (of the owner of the processes), ca/ (the cluster's CA),
// and for each machine NAME/tandemail.toml, NAME/meta, NAME/spool, NAME/log.
//
// It knows nothing that an operator could not do by hand: it writes
// configuration files, issues certificates, starts processes and calls the API.
package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Sizes of the sample cluster.
const (
	machineCount = 3
	storeCount   = 6
	userCount    = 20
)

// Layout is a dev cluster as its directory describes it.
type Layout struct {
	Dir      string    `json:"dir"`
	Machines []Machine `json:"machines"`
	Users    []User    `json:"users"`
}

// Machine is one process of the cluster.
type Machine struct {
	Name      cluster.Machine `json:"name"`
	PID       int             `json:"pid"`
	LMTP      string          `json:"lmtp"`
	IMAP      string          `json:"imap"`
	IMAPLocal string          `json:"imap_local"`
	POP3      string          `json:"pop3"`
	HTTP      string          `json:"http"`
	Internal  string          `json:"internal"`
	EtcdC     string          `json:"etcd_client"`
	EtcdP     string          `json:"etcd_peer"`
}

// User is a sample user.
type User struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

const layoutFile = "dev.json"

// Find reads the layout of the dev cluster in dir.
func Find(dir string) (Layout, error) {
	b, err := os.ReadFile(filepath.Join(dir, layoutFile))
	if errors.Is(err, os.ErrNotExist) {
		return Layout{}, fmt.Errorf("%s holds no dev cluster: start one with tandemail dev --dir %s", dir, dir)
	}
	if err != nil {
		return Layout{}, fmt.Errorf("read dev cluster: %w", err)
	}
	var l Layout
	if err := json.Unmarshal(b, &l); err != nil {
		return l, fmt.Errorf("read dev cluster in %s: %w", dir, err)
	}
	l.Dir = dir // it may have been moved
	return l, nil
}

// save replaces the layout file as a whole, so that a reader never sees half of it.
func (l Layout) save() error {
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("encode layout: %w", err)
	}
	path := filepath.Join(l.Dir, layoutFile)
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write layout: %w", err)
	}
	return os.Rename(path+".new", path)
}

func (l Layout) index(name cluster.Machine) int {
	for i, m := range l.Machines {
		if m.Name == name {
			return i
		}
	}
	return -1
}

func (l Layout) machineDir(m Machine) string { return filepath.Join(l.Dir, string(m.Name)) }

func (l Layout) logOf(name cluster.Machine) string { return filepath.Join(l.Dir, string(name), "log") }
