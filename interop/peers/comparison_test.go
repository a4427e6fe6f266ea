package peers

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
)

// TestAComparisonSeesWhatClientsWouldSee: what a dialogue expects and what was told, as
// lines without "* ".
func TestAComparisonSeesWhatClientsWouldSee(t *testing.T) {
	for _, x := range []struct {
		why       string
		want, got string
		same      bool
	}{
		{"texts are nobody's business", "OK [READ-WRITE] SELECT completed", "OK [READ-WRITE] Done", true},
		{"a code is", "OK [READ-WRITE] SELECT completed", "OK [READ-ONLY] Done", false},
		{"UIDs of copies", "OK [COPYUID <v> 1:2 3:4] x", "OK [COPYUID 9 1,2 3,4] y", true},
		{"other UIDs of copies", "OK [COPYUID <v> 1:2 3:4] x", "OK [COPYUID 9 1:2 4:5] y", false},
		{"\\Recent and the order of flags", `1 FETCH (FLAGS (\Seen $X \Recent) UID 1)`, `1 FETCH (UID 1 FLAGS ($x \Seen))`, true},
		{"a flag", `1 FETCH (FLAGS (\Seen))`, `1 FETCH (FLAGS (\Seen \Deleted))`, false},
		{"flags told unasked", "1 FETCH (UID 1)", "1 FETCH (UID 1)\n2 FETCH (FLAGS ())", true},
		{"data told unasked", "1 FETCH (UID 1)", "1 FETCH (UID 1 RFC822.SIZE 3)", false},
		{"items in several responses", "1 FETCH (UID 1 RFC822.SIZE 3)", "1 FETCH (UID 1)\n1 FETCH (RFC822.SIZE 3)", true},
		{"an item that is missing", "1 FETCH (UID 1 RFC822.SIZE 3)", "1 FETCH (UID 1)", false},
		{"quoted or literal", "1 FETCH (BODY[1] \"ab\")", "1 FETCH (BODY[1] {2}\r\nab)", true},
		{"another literal", "1 FETCH (BODY[1] {2}\r\nab)", "1 FETCH (BODY[1] {2}\r\nac)", false},
		{"NIL is not empty", "1 FETCH (BODY[1] NIL)", `1 FETCH (BODY[1] "")`, false},
		{"the same instant", `1 FETCH (INTERNALDATE " 1-Jan-2026 09:00:00 +0000")`, `1 FETCH (INTERNALDATE "01-Jan-2026 10:00:00 +0100")`, true},
		{"another instant", `1 FETCH (INTERNALDATE " 1-Jan-2026 09:00:00 +0000")`, `1 FETCH (INTERNALDATE "01-Jan-2026 10:00:00 +0000")`, false},
		{"the order of expunges", "3 EXPUNGE\n1 EXPUNGE", "1 EXPUNGE\n2 EXPUNGE", true},
		{"other expunges", "3 EXPUNGE\n1 EXPUNGE", "1 EXPUNGE\n3 EXPUNGE", false},
		{"more of what vanished earlier", "VANISHED (EARLIER) 2", "VANISHED (EARLIER) 1:3", true},
		{"more of what vanished now", "VANISHED 2", "VANISHED 1:3", false},
		{"the last number of messages", "3 EXISTS", "2 EXISTS\n3 EXISTS", true},
		{"another number of messages", "3 EXISTS", "2 EXISTS", false},
		{"a set of numbers", "SEARCH 1 2", "SEARCH 2 1", true},
		{"another set of numbers", "SEARCH 1 2", "SEARCH 1 2 3", false},
		{"a list of numbers", "SORT 1 2", "SORT 2 1", false},
		{"threads", "THREAD (1 (2)(3))", "THREAD (1 (3)(2))", false},
		{"a result as ranges", `ESEARCH (TAG "a") UID ALL 1:3 COUNT 3`, `ESEARCH (TAG "a") UID COUNT 3 ALL 1,2:3`, true},
		{"another result", `ESEARCH (TAG "a") ALL 1:3`, `ESEARCH (TAG "a") ALL 1:2`, false},
		{"a result that was not asked for", `ESEARCH (TAG "a") ALL 1:3`, `ESEARCH (TAG "a") ALL 1:3 COUNT 3`, false},
		{"names in another order", `LIST () "/" a` + "\n" + `LIST () "/" b`, `LIST (\Marked) "/" "b"` + "\n" + `LIST (\HasNoChildren) "/" a`, true},
		{"a name more", `LIST () "/" a`, `LIST () "/" a` + "\n" + `LIST () "/" b`, false},
		{"no mailbox", `LIST (\NonExistent) "/" a`, `LIST (\Noselect \HasChildren) "/" a`, true},
		{"a mailbox", `LIST (\NonExistent) "/" a`, `LIST (\HasChildren) "/" a`, false},
		{"children", `LIST (\HasChildren) "/" a`, `LIST (\HasNoChildren) "/" a`, false},
		{"a special use", `LIST (\Sent) "/" a`, `LIST () "/" a`, false},
		{"STATUS in another order", "STATUS a (MESSAGES 1 UIDNEXT 2)", "STATUS a (UIDNEXT 2 MESSAGES 1)", true},
		{"another STATUS", "STATUS a (MESSAGES 1)", "STATUS a (MESSAGES 2)", false},
		{"a name twice", "STATUS a (UIDVALIDITY <v>)\nSTATUS b (UIDVALIDITY <v>)", "STATUS a (UIDVALIDITY 1)\nSTATUS b (UIDVALIDITY 2)", false},
		{"rights in another order", "MYRIGHTS a lrs", "MYRIGHTS a srln", true},
		{"other rights", "MYRIGHTS a lrs", "MYRIGHTS a lr", false},
	} {
		c := &comparison{names: imaptest.Names{}, announced: map[string]bool{"UIDPLUS": true}}
		c.compare(responses(x.want), responses(x.got))
		if same := len(c.found) == 0; same != x.same {
			t.Errorf("%s: want %s, got %s: %q", x.why, x.want, x.got, c.found)
		}
	}
}

func responses(lines string) (out []response) {
	var text string
	for line := range strings.SplitSeq(lines, "\n") {
		if text += line; strings.HasSuffix(line, "}\r") {
			text += "\n"
			continue
		}
		out = append(out, parseResponse(text))
		text = ""
	}
	return out
}

func TestAServerThatHasEndedIsNotWaitedFor(t *testing.T) {
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	p, err := run(t.TempDir(), exec.Command(os.Args[0], "-test.run=^$"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.await(t.Context(), address); err == nil || !strings.Contains(err.Error(), "ended: exit status 0") {
		t.Errorf("waited: %v", err)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("end what has ended: %v", err)
	}
}

func TestNotesOfDialoguesAreRead(t *testing.T) {
	for _, text := range []string{"", "needs", "differs dovecot", "differs gimap: x", "moves any: x"} {
		if _, err := parseNote(text); err == nil {
			t.Errorf("%q is taken for a note", text)
		}
	}
	n, err := parseNote("differs dovecot: it is: so")
	if err != nil || !n.about("dovecot") || n.about("cyrus") || n.reason != "it is: so" {
		t.Errorf("%+v %v", n, err)
	}
	if n, err = parseNote("needs SORT X"); err != nil || (notes{n}).missing(map[string]bool{"SORT": true}) != "X" {
		t.Errorf("%+v %v", n, err)
	}
}

// TestEveryDialogueHasNotesThatCanBeRead holds for those that no server is there for.
func TestEveryDialogueHasNotesThatCanBeRead(t *testing.T) {
	for _, file := range dialogues(t, "*") {
		steps, err := imaptest.Read(file)
		if err != nil {
			t.Error(err)
		}
		for _, s := range steps {
			if s.Kind != imaptest.Notes {
				continue
			}
			if _, err := parseNote(s.Text); err != nil {
				t.Errorf("%s:%d: %v", file, s.Line, err)
			}
		}
	}
}
