package peers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// tandemail is a dev cluster of three machines: each change is on two of them before
// it is answered.
type tandemail struct {
	binary, dir string
	sessions    int // of the user, more than are allowed by default
	process     *process
	layout      layout
	master      machine
}

// layout is what tandemail dev --json prints.
type layout struct {
	Machines []machine `json:"machines"`
	Users    []struct {
		User     string `json:"user"`
		Password string `json:"password"`
	} `json:"users"`
}

type machine struct {
	Name      string `json:"name"`
	PID       int    `json:"pid"`
	IMAP      string `json:"imap"`
	IMAPLocal string `json:"imap_local"`
}

func newTandemail(ctx context.Context, binary, dir string, sessions int) (server, error) {
	t := &tandemail{binary: binary, dir: dir, sessions: sessions}
	err := t.run(ctx) // for the machines' configuration
	if err = errors.Join(err, t.stop()); err == nil {
		err = t.allow()
	}
	return t, err
}

// allow lets the user have all those sessions.
func (t *tandemail) allow() error {
	for _, m := range t.layout.Machines {
		path := filepath.Join(t.dir, m.Name, "tandemail.toml")
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := strings.Replace(string(b), "[client]\n", fmt.Sprintf("[client]\nmax_sessions_per_user = %d\n", t.sessions), 1)
		if err := write(path, text); err != nil {
			return err
		}
	}
	return nil
}

// run starts the cluster and waits until it serves.
func (t *tandemail) run(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, t.binary, "dev", "--json", "--dir", t.dir, "--stores", "1")
	ready, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if t.process, err = run(t.dir, cmd); err != nil {
		return err
	}
	line, err := bufio.NewReader(ready).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("start tandemail dev: %w", err)
	}
	if err := json.Unmarshal(line, &t.layout); err != nil {
		return fmt.Errorf("read what tandemail dev prints: %w", err)
	}
	return nil
}

func (t *tandemail) start(ctx context.Context) error {
	if err := t.run(ctx); err != nil {
		return err
	}
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		name, err := t.serving(ctx)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(t.layout.Machines, func(m machine) bool { return m.Name == name }); i >= 0 {
			t.master = t.layout.Machines[i]
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the store's master: %w", ctx.Err())
		}
	}
}

// serving is the machine that serves the store, "" while there is none: a store that
// lost several masters within a minute, as one does that is restarted with all its
// machines over and over, is given none for the rest of it.
func (t *tandemail) serving(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, t.binary, "store", "list", "--json")
	cmd.Env = append(os.Environ(), "TANDEMAIL_DIR="+t.dir)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the store's master: %w", err)
	}
	var stores []struct {
		Slots []struct {
			Machine string `json:"machine"`
			Role    string `json:"role"`
		} `json:"slots"`
	}
	if err := json.Unmarshal(out, &stores); err != nil {
		return "", fmt.Errorf("find the store's master: %w", err)
	}
	for _, s := range stores {
		for _, slot := range s.Slots {
			if slot.Role == "master" {
				return slot.Machine, nil
			}
		}
	}
	return "", nil
}

func (t *tandemail) stop() error { return t.process.end(syscall.SIGINT) }

// doors are the front end of another machine, and the master's own port.
func (t *tandemail) doors() []door {
	other := slices.IndexFunc(t.layout.Machines, func(m machine) bool { return m != t.master })
	u := t.layout.Users[0]
	return []door{
		{"Tandemail", t.layout.Machines[other].IMAP, u.User, u.Password},
		{"Tandemail, local", t.master.IMAPLocal, u.User, u.Password},
	}
}

func (t *tandemail) version() string { return "Tandemail of this tree" }

func (t *tandemail) root() int { return t.process.cmd.Process.Pid }

func (t *tandemail) storage() ([]int, error) { return []int{t.master.PID}, nil }
