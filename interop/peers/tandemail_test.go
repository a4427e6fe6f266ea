package peers

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
)

// tandemail is a dev cluster of three machines: each change is on two of them before
// it is answered.
type tandemail struct {
	binary, dir string
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

func newTandemail(binary, dir string) (server, error) {
	return &tandemail{binary: binary, dir: dir}, os.MkdirAll(dir, 0o755)
}

func (t *tandemail) start(ctx context.Context) error {
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
	where := exec.CommandContext(ctx, t.binary, "user", "where", t.layout.Users[0].User, "--json")
	where.Env = append(os.Environ(), "TANDEMAIL_DIR="+t.dir)
	out, err := where.Output()
	if err != nil {
		return fmt.Errorf("find the user's master: %w", err)
	}
	var user struct {
		Master string `json:"master"`
	}
	if err := json.Unmarshal(out, &user); err != nil {
		return fmt.Errorf("find the user's master: %w", err)
	}
	i := slices.IndexFunc(t.layout.Machines, func(m machine) bool { return m.Name == user.Master })
	if i < 0 {
		return fmt.Errorf("the user's store has no master: %s", out)
	}
	t.master = t.layout.Machines[i]
	return nil
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
