package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestImapflow: IDLE, CONDSTORE or QRESYNC, COMPRESS and MOVE, with imapflow of npm in
// the node_modules that TANDEMAIL_NODE_PATH names.
func TestImapflow(t *testing.T) {
	need(t, "node")
	modules := os.Getenv("TANDEMAIL_NODE_PATH")
	if _, err := os.Stat(filepath.Join(modules, "imapflow")); modules == "" || err != nil {
		t.Skip("TANDEMAIL_NODE_PATH names no node_modules with imapflow")
	}
	a := newAccount(t)
	a.deliver(2)
	cmd := exec.CommandContext(t.Context(), "node", "testdata/imapflow.js", a.imapHost, a.imapPort, a.user, a.password)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(clientTime, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	var said []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if said = append(said, lines.Text()); lines.Text() == "ready" {
			a.deliver(1)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, strings.Join(said, "\n"))
	}
	var seen struct {
		Enabled, List, Flagged                 []string
		Exists, Size, Arrived, Moved, Archived int
		Subject, Type                          string
		Search                                 []int
		Appended, Expunged                     bool
	}
	if err := json.Unmarshal(out.Bytes(), &seen); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	t.Logf("%+v", seen)
	if seen.Exists != 2 || seen.Arrived != 3 || seen.Moved != 1 || seen.Archived != 2 || seen.Subject != "message 1" || seen.Type != "text/plain" ||
		len(seen.Search) != 1 || !seen.Appended || !seen.Expunged || !slices.Contains(seen.Flagged, `\Flagged`) || !slices.Contains(seen.List, "Archive") {
		t.Error("something is missing")
	}
}
