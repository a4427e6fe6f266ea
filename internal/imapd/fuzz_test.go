package imapd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/heap"
	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// fuzzCommands is how many commands of its input FuzzExecute has executed.
const fuzzCommands = 40

// FuzzExecute: whatever a client sends, in its own mailboxes or in others', every command
// has one tagged answer, within a bound of memory, and the token stays with what the client was told.
func FuzzExecute(f *testing.F) {
	for _, file := range dialogueFiles(f) {
		in := spoken(f, file)
		f.Add(in, false)
		f.Add(in, true)
	}
	f.Fuzz(func(t *testing.T, in []byte, others bool) {
		sh := share(t, 2, "lrswipkxtea")
		d := sh.ann
		if others {
			d = sh.bob
		}
		heap.Within(t, fuzzCommands<<18+2048*len(in), func() { d.feed(t, in) })
	})
}

func (d *direct) feed(t *testing.T, in []byte) {
	c := imapwire.NewCollector(imapwire.Limits{Line: 2048, String: 2048, Message: 4096}, nil)
	for n := 0; len(in) > 0 && n < fuzzCommands; {
		k, step, err := c.Feed(in)
		in = in[k:]
		if err != nil && step != imapwire.Refused {
			return
		}
		if step == imapwire.Whole {
			n++
			if !d.check(t, c.Take()) {
				return
			}
		}
	}
}

func dialogueFiles(t testing.TB) (files []string) {
	t.Helper()
	for _, pattern := range []string{"testdata/*.txt", "testdata/shared/*.txt"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatal("no dialogues", err)
		}
		files = append(files, found...)
	}
	return files
}

// spoken is what all clients of a dialogue say, as one.
func spoken(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out, literal []byte
	open := false
	for line := range strings.SplitSeq(string(text), "\n") {
		head, rest, _ := strings.Cut(line, ":")
		rest = strings.TrimPrefix(rest, " ")
		switch {
		case strings.HasPrefix(head, "L"):
			literal = append(literal, rest+"\r\n"...)
		case strings.HasPrefix(head, "C"):
			if open {
				out = append(fmt.Appendf(out, "{%d+}\r\n", len(literal)), literal...)
				literal = nil
			}
			if rest, open = strings.CutSuffix(rest, "{}"); !open {
				rest += "\r\n"
			}
			out = append(out, rest...)
		}
	}
	return out
}

// TestEveryCommandIsSpoken in a dialogue early enough for FuzzExecute to begin with.
func TestEveryCommandIsSpoken(t *testing.T) {
	said := map[string]bool{}
	for _, file := range dialogueFiles(t) {
		c := imapwire.NewCollector(imapwire.Limits{}, nil)
		in := spoken(t, file)
		for n := 0; len(in) > 0 && n < fuzzCommands; {
			k, step, err := c.Feed(in)
			if err != nil && step != imapwire.Refused {
				t.Fatalf("%s: %v", file, err)
			}
			if in = in[k:]; step == imapwire.Whole {
				n++
				said[strings.TrimPrefix(c.Take().Name(), "UID ")] = true
			}
		}
	}
	for name := range handlers {
		if !said[name] {
			t.Errorf("no dialogue says %s", name)
		}
	}
}

// check executes one command. It returns false if that ends the session, which is for
// those alone who take the right to read the selected mailbox away from themselves.
func (d *direct) check(t *testing.T, command imapwire.Raw) bool {
	d.next++
	d.EndIdle(d.next)
	d.frames, d.done = nil, 0
	err := d.Execute(t.Context(), Command{Number: d.next, Raw: command})
	if name := command.Name(); errors.Is(err, session.ErrGone) && (name == "SETACL" || name == "DELETEACL") {
		return false
	}
	if err != nil {
		t.Fatalf("%q: %v", command.Text, err)
	}
	if d.done != 1 {
		t.Fatalf("%q: %d tagged answers", command.Text, d.done)
	}
	for i, u := range d.frames {
		if !strings.HasSuffix(u, "\r\n") && strings.HasPrefix(u, "unit ") && !strings.HasPrefix(d.frames[i+1], "stream") {
			t.Fatalf("%q: unit ends with %.100q", command.Text, u)
		}
	}
	return true
}

// altered is an account whose views are altered.
type altered struct {
	mail.Account
	view func(mail.View) mail.View
}

func (a *altered) View(ctx context.Context) (mail.View, error) {
	v, err := a.Account.View(ctx)
	if err != nil {
		return nil, err
	}
	return a.view(v), nil
}

// forgetful is a view whose tombstones are gone.
type forgetful struct{ mail.View }

func (forgetful) Expunged(mail.MailboxID, mail.ModSeq) iter.Seq2[mail.Tombstone, error] {
	return func(yield func(mail.Tombstone, error) bool) { yield(mail.Tombstone{}, mail.ErrBelowFloor) }
}

// damaged is a view in which a message cannot be opened.
type damaged struct {
	mail.View
	uid mail.UID
	err error
}

func (v damaged) Open(ctx context.Context, msg mail.Message) (mail.Content, error) {
	if msg.UID == v.uid {
		return nil, v.err
	}
	return v.View.Open(ctx, msg)
}

func (v damaged) OpenAll(ctx context.Context, msgs []mail.Message) []mail.Opened {
	return openEach(ctx, v, msgs)
}

// openEach is OpenAll by Open.
func openEach(ctx context.Context, v mail.View, msgs []mail.Message) []mail.Opened {
	list := make([]mail.Opened, len(msgs))
	for i := range msgs {
		list[i].Content, list[i].Err = v.Open(ctx, msgs[i])
	}
	return list
}

func TestExpungesBelowTheTombstoneFloorAreFoundByComparison(t *testing.T) {
	twin := newAccount(t)
	d := newDirect(t, &altered{twin, func(v mail.View) mail.View { return forgetful{v} }}, 1)
	other := newDirect(t, twin, 2)
	d.fill(6)
	d.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	other.ok("STORE 2:3,5 +FLAGS.SILENT (\\Deleted)")
	other.ok("EXPUNGE")
	want := "* 5 EXPUNGE\r\n* 3 EXPUNGE\r\n* 2 EXPUNGE\r\nx OK NOOP completed\r\n"
	if got := d.ok("NOOP"); got != want {
		t.Errorf("got %q", got)
	}
}

func TestDamagedMessageDoesNotHideTheOthers(t *testing.T) {
	a := &altered{newAccount(t), func(v mail.View) mail.View { return damaged{v, 2, mail.ErrCorrupt} }}
	d := newDirect(t, a, 1)
	d.fill(3)
	d.ok("EXAMINE INBOX")
	out, err := d.run("x FETCH 1:3 BODY[]")
	if err != nil || strings.Count(out, "Subject: x") != 2 || strings.Contains(out, "* 2 ") ||
		!strings.HasSuffix(out, "x NO [CORRUPTION] A stored message is damaged\r\n") {
		t.Errorf("got %s, %v", out, err)
	}
	if out := d.ok("SEARCH SUBJECT x"); !strings.HasPrefix(out, "* SEARCH 1 3\r\n") {
		t.Errorf("got %s", out)
	}
	a.view = func(v mail.View) mail.View { return damaged{v, 3, mail.ErrNoMessage} }
	out, err = d.run("x FETCH 1:3 (BODY[])")
	if err != nil || !strings.HasSuffix(out, "x NO [EXPUNGEISSUED] Some of the messages have been deleted\r\n") {
		t.Errorf("got %s, %v", out, err)
	}
	a.view = func(v mail.View) mail.View { return damaged{v, 1, mail.ErrMoved} }
	if _, err := d.run("x FETCH 1:3 (BODY[])"); ReasonOf(err) != session.Moved {
		t.Errorf("got %v", err)
	}
}
