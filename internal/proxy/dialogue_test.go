package proxy

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
)

func dialogues(t *testing.T, pattern string, run func(t *testing.T, file string)) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { run(t, file) })
	}
}

func TestDialogues(t *testing.T) {
	dialogues(t, "testdata/dialogue/*.txt", func(t *testing.T, file string) {
		r := newRig(t, nil)
		imaptest.Run(t, file, func(string) net.Conn { return r.conns.dial() })
	})
}

// TestClientSeesTheExecutorsAnswers plays the dialogues of package imapd through
// front end, frames and master: nothing may be different.
func TestClientSeesTheExecutorsAnswers(t *testing.T) {
	dialogues(t, "../imapd/testdata/*.txt", func(t *testing.T, file string) {
		switch filepath.Base(file) {
		case "append.txt", "deleted.txt", "syntax.txt":
			t.Skip("it has a refused literal, a BYE or a LOGOUT, which are the front end's")
		}
		r := newRig(t, nil)
		imaptest.Run(t, file, func(name string) net.Conn {
			nc := r.conns.dial()
			c := imaptest.NewClient(t, nc)
			c.Line()
			c.OK("LOGIN %s secret", imaptest.UserOf(name))
			return nc
		})
	})
}
