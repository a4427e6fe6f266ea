package imapd

import (
	"strings"
	"testing"
)

// TestReplaceHappensOnceThoughItsAnswerIsLost: also where the message that it replaces
// was what it was made of.
func TestReplaceHappensOnceThoughItsAnswerIsLost(t *testing.T) {
	for _, command := range []string{
		"REPLACE 2 INBOX {5+}\r\nhello",
		`REPLACE 2 INBOX CATENATE (URL "/INBOX/;UID=2" TEXT {5+}` + "\r\nhello)",
	} {
		d := newDirect(t, newAccount(t), 1)
		d.fill(3)
		d.ok("SELECT INBOX")
		d.lose(t, command)
		d.move(t)
		out := d.ok("%s", command)
		if !strings.HasSuffix(out, "x OK REPLACE completed\r\n") || !strings.Contains(out, " 4] Replacement") || !strings.Contains(out, "* 2 EXPUNGE\r\n* 3 EXISTS\r\n") {
			t.Errorf("got %s", out)
		}
		if out := d.ok("UID SEARCH ALL"); !strings.HasPrefix(out, "* SEARCH 1 3 4\r\n") {
			t.Errorf("there are %s", out)
		}
	}
}

// TestRepeatedCommandHasItsFirstAnswerThoughTheTargetHasGone, and one that was not
// executed is told so.
func TestRepeatedCommandHasItsFirstAnswerThoughTheTargetHasGone(t *testing.T) {
	for command, want := range map[string]string{
		"APPEND Work {5+}\r\nhello": "x OK [APPENDUID ", "UID COPY 1:2 Work": "x OK [COPYUID ", "UID MOVE 1:2 Work": "x OK MOVE completed",
	} {
		a := newAccount(t)
		d, other := newDirect(t, a, 1), newDirect(t, a, 2)
		d.fill(3)
		d.ok("CREATE Work")
		d.ok("SELECT INBOX")
		d.lose(t, command)
		other.ok("DELETE Work")
		d.move(t)
		if out, err := d.run("x " + command); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: got %s, %v", command, out, err)
		}
		if strings.Contains(command, "MOVE") {
			continue // there is nothing left to move
		}
		d.move(t)
		if out, err := d.run("x " + command); err != nil || !strings.Contains(out, "x NO [TRYCREATE] ") {
			t.Errorf("%s, anew: got %s, %v", command, out, err)
		}
	}
}

// TestAppendOfWhatHasGoneIsRefusedIfItWasNotExecuted before the session moved.
func TestAppendOfWhatHasGoneIsRefusedIfItWasNotExecuted(t *testing.T) {
	d := newDirect(t, newAccount(t), 1)
	d.fill(1)
	d.ok("SELECT INBOX")
	d.move(t)
	out, err := d.run(`x APPEND INBOX CATENATE (URL "/INBOX/;UID=7")`)
	if err != nil || !strings.Contains(out, "x NO [BADURL ") {
		t.Errorf("got %s, %v", out, err)
	}
	if out := d.ok("UID SEARCH ALL"); !strings.HasPrefix(out, "* SEARCH 1\r\n") {
		t.Errorf("there are %s", out)
	}
}
