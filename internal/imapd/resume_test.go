package imapd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// move goes on at another master, which has nothing but the token.
func (d *direct) move(t testing.TB) {
	t.Helper()
	if err := d.moveWith(func(*session.Token) {}); err != nil {
		t.Fatal(err)
	}
}

func (d *direct) moveWith(change func(*session.Token)) error {
	b, err := d.token.Append(nil)
	if err != nil {
		return err
	}
	tok, err := session.DecodeToken(b)
	if err != nil {
		return err
	}
	change(tok)
	s := New(d.cfg)
	if err := s.Resume(d.t.Context(), tok); err != nil {
		return err
	}
	d.Session = s
	return nil
}

// lose executes a command whose answer does not reach the client. It is to be
// repeated.
func (d *direct) lose(t testing.TB, command string) {
	t.Helper()
	d.lost = true
	if _, err := d.run("x " + command); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	d.lost = false
	d.next--
}

// TestSessionsAgreeHoweverTheyMove: as TestSessionsAgreeHoweverTheyInterleave, with
// sessions that lose their masters.
func TestSessionsAgreeHoweverTheyMove(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { interleave(t, rand.New(rand.NewPCG(seed, 8)), true) })
	}
}

// TestMessageThatCameAndWentIsStillToldInOrder: a client that may not be told of an
// expunge is told that the message came, so that its picture has one meaning.
func TestMessageThatCameAndWentIsStillToldInOrder(t *testing.T) {
	a := newAccount(t)
	d, other := newDirect(t, a, 1), newDirect(t, a, 2)
	d.fill(2)
	d.ok("SELECT INBOX")
	other.fill(2)
	other.ok("SELECT INBOX")
	other.ok(`STORE 3 +FLAGS (\Deleted)`)
	other.ok("EXPUNGE")
	if out := d.ok("FETCH 1 UID"); !strings.Contains(out, "* 4 EXISTS\r\n") {
		t.Errorf("got %s", out)
	}
	d.move(t)
	if out := d.ok("FETCH 4 UID"); !strings.HasPrefix(out, "* 4 FETCH (UID 4)\r\n") {
		t.Errorf("got %s", out)
	}
	if out := d.ok("NOOP"); out != "* 3 EXPUNGE\r\nx OK NOOP completed\r\n" {
		t.Errorf("got %s", out)
	}
}

func TestResumedSessionKeepsWhatItHad(t *testing.T) {
	a := newAccount(t)
	d := newDirect(t, a, 1)
	d.fill(3)
	d.ok("ENABLE CONDSTORE UTF8=ACCEPT")
	d.ok("EXAMINE INBOX")
	d.ok("SEARCH RETURN (SAVE) 2:3")
	d.move(t)
	if out := d.ok("FETCH $ FLAGS"); out != "* 2 FETCH (FLAGS (\\Recent))\r\n* 3 FETCH (FLAGS (\\Recent))\r\nx OK FETCH completed\r\n" {
		t.Errorf("got %s", out)
	}
	if out, err := d.run("x STORE 1 FLAGS ()"); err != nil || !strings.Contains(out, "[READ-ONLY]") {
		t.Errorf("got %s, %v", out, err)
	}
	if out := d.ok("ENABLE CONDSTORE UTF8=ACCEPT"); !strings.HasPrefix(out, "* ENABLED\r\n") {
		t.Errorf("got %s", out)
	}
}

// young is an account that does not list expunges any more.
type young struct{ mail.Account }

type youngView struct{ mail.View }

func (f young) View(ctx context.Context) (mail.View, error) {
	v, err := f.Account.View(ctx)
	return youngView{v}, err
}

func (youngView) Expunged(mail.MailboxID, mail.ModSeq) iter.Seq2[mail.Tombstone, error] {
	return func(yield func(mail.Tombstone, error) bool) { yield(mail.Tombstone{}, mail.ErrBelowFloor) }
}

func TestWhatCannotBeContinuedIsRefused(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*session.Token)
		want   error
	}{
		"as it was":          {func(*session.Token) {}, nil},
		"another history":    {func(k *session.Token) { k.Fork++ }, ErrNotResumable},
		"another sum":        {func(k *session.Token) { k.Selected.Sum++ }, ErrNotResumable},
		"another number":     {func(k *session.Token) { k.Selected.Count-- }, ErrNotResumable},
		"UIDVALIDITY":        {func(k *session.Token) { k.Selected.UIDValidity++ }, ErrNotResumable},
		"flags ahead":        {func(k *session.Token) { k.Selected.Flags++ }, ErrNotResumable},
		"expunges ahead":     {func(k *session.Token) { k.Selected.Expunged.ModSeq++ }, ErrNotResumable},
		"messages ahead":     {func(k *session.Token) { k.Selected.UIDNext++ }, ErrNotResumable},
		"keywords ahead":     {func(k *session.Token) { k.Selected.Keywords++ }, ErrNotResumable},
		"half an expunge":    {func(k *session.Token) { k.Selected.Expunged.UID = 1 }, ErrNotResumable},
		"unknown feature":    {func(k *session.Token) { k.Enabled |= 1 << 7 }, ErrNotResumable},
		"a search under way": {func(k *session.Token) { k.Contexts = make([]session.Context, 1) }, ErrNotResumable},
		"mailbox gone":       {func(k *session.Token) { k.Selected.Mailbox[0]++ }, errGone},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirect(t, newAccount(t), 1)
			d.fill(2)
			d.ok("SELECT INBOX")
			if err := d.moveWith(x.change); !errors.Is(err, x.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("expunges forgotten", func(t *testing.T) {
		d := newDirect(t, young{newAccount(t)}, 1)
		d.ok("APPEND INBOX {1+}\r\nx")
		d.ok("SELECT INBOX")
		if err := d.moveWith(func(*session.Token) {}); !errors.Is(err, ErrNotResumable) || ReasonOf(err) != session.NotResumable {
			t.Errorf("got %v", err)
		}
	})
}

// TestFetchGoesOnBehindTheLastWholeMessage, or inside a literal, and only the command
// that broke off does.
func TestFetchGoesOnBehindTheLastWholeMessage(t *testing.T) {
	d := newDirect(t, newAccount(t), 1)
	d.fill(2)
	big := strings.Repeat("0123456789abcde\r\n", 2000)
	d.ok("APPEND INBOX {%d+}\r\n%s", len(big)+2, "\r\n"+big)
	d.fill(1)
	d.ok("SELECT INBOX")
	const command = "x FETCH 1:4 (UID BODY.PEEK[TEXT] BODY.PEEK[])"
	for _, x := range []struct {
		fetch session.Progress
		want  []string // frames begin so
	}{
		{session.Progress{Whole: 3}, []string{"unit * 4 FETCH (UID 4 ", "done x OK"}},
		{session.Progress{Whole: 4}, []string{"done x OK"}},
		{session.Progress{Whole: 2}, []string{"unit * 3 FETCH (UID 3 BODY[TEXT] {34000}", "stream 3 0", "unit  BODY[] {34002}", "stream 3 1", "unit )\r\n* 4 ", "done x OK"}},
		{
			session.Progress{Whole: 2, Inside: &session.Place{UID: 3, Item: 0, Octet: 34000, Length: 34000}},
			[]string{"stream 3 0", "unit  BODY[] {34002}", "stream 3 1", "unit )\r\n* 4 ", "done x OK"},
		},
		{
			session.Progress{Whole: 2, Inside: &session.Place{UID: 3, Item: 1, Octet: 5, Length: 34002}},
			[]string{"stream 3 1", "unit )\r\n* 4 ", "done x OK"},
		},
		{session.Progress{Whole: 2, Inside: &session.Place{UID: 3, Item: 1, Octet: 5, Length: 34001}}, nil},
		{session.Progress{Whole: 2, Inside: &session.Place{UID: 3, Item: 2, Octet: 0, Length: 5}}, nil},
		{session.Progress{Whole: 2, Inside: &session.Place{UID: 4, Item: 0, Octet: 0, Length: 5}}, nil},
		{session.Progress{Whole: 2, Inside: &session.Place{UID: 9, Item: 0, Octet: 0, Length: 5}}, nil},
	} {
		t.Run(fmt.Sprint(x.fetch.Whole, x.fetch.Inside), func(t *testing.T) {
			if err := d.moveWith(func(k *session.Token) { k.Fetch = x.fetch }); err != nil {
				t.Fatal(err)
			}
			_, err := d.run(command)
			if len(x.want) == 0 {
				if ReasonOf(err) != session.NotResumable || len(d.frames) != 0 {
					t.Errorf("got %v, %.100q", err, d.frames)
				}
				d.next--
				return
			}
			if err != nil || len(d.frames) != len(x.want) {
				t.Fatalf("got %.60q, %v", d.frames, err)
			}
			for i, w := range x.want {
				if !strings.HasPrefix(d.frames[i], w) {
					t.Errorf("%d: got %.80q, want %q", i, d.frames[i], w)
				}
			}
			if out := d.ok("FETCH 1 UID"); !strings.HasPrefix(out, "* 1 FETCH") {
				t.Errorf("the next command: %s", out)
			}
		})
	}
}

// TestRepeatedSilentStoreDoesNotHideWhatOthersChanged: a client puts what it stores on top of
// what it is told before the tagged answer, so it is told once more.
func TestRepeatedSilentStoreDoesNotHideWhatOthersChanged(t *testing.T) {
	a := newAccount(t)
	d, other := newDirect(t, a, 1), newDirect(t, a, 2)
	d.fill(2)
	d.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	d.ok("STORE 1 +FLAGS (\\Deleted)")
	d.lose(t, "STORE 1:2 +FLAGS.SILENT (\\Deleted)") // nothing new for 1
	other.ok("STORE 1:2 FLAGS (\\Flagged)")
	d.move(t)
	d.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
	want := "* 1 FETCH (FLAGS (\\Flagged \\Recent))\r\n* 2 FETCH (FLAGS (\\Flagged \\Recent))\r\n"
	if got := d.ok("NOOP"); !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := d.ok("NOOP"); strings.Contains(got, "FETCH") {
		t.Errorf("told for ever: %q", got)
	}
}
