package imapd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
)

// nth is an account of which one operation, counted from 0, goes wrong: not at all
// executed, or without an answer.
type nth struct {
	mail.Account
	left   *int
	err    error
	silent bool // it is executed
}

func (n *nth) Do(ctx context.Context, req mail.Request) (mail.Result, error) {
	*n.left--
	if *n.left == -1 && !n.silent {
		return mail.Result{}, n.err
	}
	res, err := n.Account.Do(ctx, req)
	if *n.left == -1 {
		return mail.Result{}, n.err
	}
	return res, err
}

// subjects is the subjects of a mailbox's messages, in order of their UIDs.
func (d *direct) subjects(mailbox string) (list []string) {
	d.t.Helper()
	d.ok("EXAMINE %s", mailbox)
	for line := range strings.SplitSeq(d.ok("UID FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]"), "\r\n") {
		if s, ok := strings.CutPrefix(line, "Subject: "); ok {
			list = append(list, s)
		}
	}
	d.ok("UNSELECT")
	return list
}

// number appends n messages with numbers as subjects.
func (d *direct) number(mailbox string, n int) (want []string) {
	d.t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " {16+}\r\nSubject: %03d\r\n\r\n", i)
		want = append(want, fmt.Sprintf("%03d", i))
	}
	d.ok("APPEND %s%s", mailbox, b.String())
	return want
}

// TestMovesBetweenAccountsLoseNothingAndDoubleNothing: whatever operation fails, and
// whether it was executed, a MOVE that is repeated has moved each message once; one that is
// not repeated has each message at one of both ends.
func TestMovesBetweenAccountsLoseNothingAndDoubleNothing(t *testing.T) {
	const n = 2*crossingPart + 5
	for _, out := range []bool{true, false} {
		for at := range 7 {
			for _, kind := range []struct {
				err    error
				silent bool
			}{{mail.ErrUnknown, true}, {mail.ErrUnknown, false}, {mail.ErrBusy, false}, {mail.ErrOverQuota, false}} {
				t.Run(fmt.Sprintf("out %v, operation %d, %v, executed %v", out, at, kind.err, kind.silent), func(t *testing.T) {
					sh := share(t, 0, "lrswite")
					from, to := anns, "INBOX"
					if out {
						from, to = to, from
					}
					want := sh.bob.number(from, n)
					left := at
					break1 := func(a mail.Account) mail.Account {
						return &nth{Account: a, left: &left, err: kind.err, silent: kind.silent}
					}
					sh.bob.ok("SELECT %s", from)
					sh.others.open = func(_ context.Context, a mail.Account) (mail.Account, error) { return break1(a), nil }
					home := sh.bob.home.account
					sh.bob.home.account = break1(home)
					if !out {
						sh.bob.box.at.account = break1(sh.bob.box.at.account)
					}
					answer, err := sh.bob.run("x MOVE 1:* " + to)
					sh.bob.home.account, sh.others.open = home, nil
					if err != nil {
						if !ReasonOf(err).Elsewhere() {
							t.Fatalf("got %v", err)
						}
						sh.bob.next--
						sh.bob.move(t)
						if answer = sh.bob.ok("MOVE 1:* %s", to); !strings.Contains(answer, "COPYUID") {
							t.Errorf("repeated: %s", answer)
						}
					}
					sh.bob.ok("UNSELECT")
					here, there := sh.bob.subjects(from), sh.bob.subjects(to)
					if strings.Contains(answer, "x OK") && len(here) > 0 {
						t.Errorf("left behind: %v", here)
					}
					all := slices.Sorted(slices.Values(append(here, there...)))
					if !slices.Equal(all, want) {
						t.Errorf("after %s:\n%v and\n%v", answer, here, there)
					}
				})
			}
		}
	}
}

// TestCopyBetweenAccountsIsAllOrNothing.
func TestCopyBetweenAccountsIsAllOrNothing(t *testing.T) {
	const n = 3 * crossingPart
	for at := range 4 {
		for _, err := range []error{mail.ErrLimit, mail.ErrBusy, mail.ErrFrozen} {
			sh := share(t, 0, "lrswite")
			want := sh.bob.number("INBOX", n)
			sh.bob.ok("SELECT INBOX")
			left := at
			sh.others.open = func(_ context.Context, a mail.Account) (mail.Account, error) {
				return &nth{Account: a, left: &left, err: err}, nil
			}
			out, failed := sh.bob.run("x COPY 1:* " + anns)
			if failed != nil {
				t.Fatalf("operation %d: %v", at, failed)
			}
			sh.others.open = nil
			if strings.Contains(out, "x OK") != (at == 3) {
				t.Errorf("operation %d: %s", at, out)
			}
			if got := sh.bob.subjects(anns); at < 3 && len(got) != 0 || at == 3 && !slices.Equal(got, want) {
				t.Errorf("operation %d, %v: %d messages are there", at, err, len(got))
			}
		}
	}
}

// TestRepeatedCopyBetweenAccountsHasOneAnswer, though a message has gone meanwhile.
func TestRepeatedCopyBetweenAccountsHasOneAnswer(t *testing.T) {
	sh := share(t, 0, "lrswite")
	sh.bob.number("INBOX", crossingPart+3)
	sh.bob.ok("SELECT INBOX")
	sh.bob.lose(t, "COPY 1:* "+anns)
	other := newDirect(t, sh.users.Server.Account(everybody["bob"]), 9)
	other.ok("SELECT INBOX")
	other.ok(`STORE 17:19 +FLAGS (\Deleted)`)
	other.ok("EXPUNGE")
	sh.bob.move(t)
	if out := sh.bob.ok("COPY 1:* %s", anns); !strings.Contains(out, " 1:19 1:19] COPY completed") {
		t.Errorf("got %s", out)
	}
	if got := sh.bob.subjects(anns); len(got) != crossingPart+3 {
		t.Errorf("%d messages", len(got))
	}
}

func TestLargeCopyBetweenAccountsGoesInParts(t *testing.T) {
	sh := share(t, 0, "lrswite")
	n := 100 + rand.IntN(100)
	want := sh.bob.number("INBOX", n)
	sh.bob.ok("SELECT INBOX")
	open, most := 0, 0
	sh.others.open = func(_ context.Context, a mail.Account) (mail.Account, error) {
		return &stagings{a, &open, &most}, nil
	}
	sh.bob.ok("COPY 1:* " + anns)
	if most > crossingPart || open != 0 {
		t.Errorf("%d bodies at once, %d are left open", most, open)
	}
	sh.others.open = nil
	if got := sh.bob.subjects(anns); !slices.Equal(got, want) {
		t.Errorf("%d messages", len(got))
	}
	if mail.MaxCopy/crossingPart >= takeBackChunk {
		t.Error("parts of a large copy have no chunks")
	}
}

// stagings counts the bodies of an account that are open.
type stagings struct {
	mail.Account
	open, most *int
}

type stagedBody struct {
	mail.Body
	open *int
}

func (s *stagings) Stage(ctx context.Context, r io.Reader, limit int64) (mail.Body, error) {
	b, err := s.Account.Stage(ctx, r, limit)
	*s.open++
	*s.most = max(*s.most, *s.open)
	return stagedBody{b, s.open}, err
}

func (b stagedBody) Close() error { *b.open--; return b.Body.Close() }

func (s *stagings) Do(ctx context.Context, req mail.Request) (mail.Result, error) {
	if op, ok := req.Op.(mail.Append); ok {
		for i := range op.Messages {
			op.Messages[i].Body = op.Messages[i].Body.(stagedBody).Body
			defer func() { *s.open-- }() // the session closes the one inside
		}
	}
	return s.Account.Do(ctx, req)
}

// TestCopyOverTheOwnersQuotaIsRefusedBefore anything is there: the user may remove nothing.
func TestCopyOverTheOwnersQuotaIsRefusedBefore(t *testing.T) {
	sh := share(t, 0, "lri")
	sh.bob.number("INBOX", 2*crossingPart)
	a := sh.users.Server.Account(everybody["ann"])
	_, err := a.Do(t.Context(), mail.Request{ID: mail.OpID{Session: mail.SessionID{77}, Number: 1}, Op: mail.SetQuota{LimitMessages: crossingPart + 1}})
	if err != nil {
		t.Fatal(err)
	}
	sh.bob.ok("SELECT INBOX")
	if out, err := sh.bob.run("x COPY 1:* " + anns); err != nil || !strings.Contains(out, "[OVERQUOTA]") {
		t.Errorf("got %s, %v", out, err)
	}
	if got := sh.bob.subjects(anns); len(got) != 0 {
		t.Errorf("%d messages are there", len(got))
	}
}

// TestReplaceBetweenAccountsIsRepeated, wherever it broke off.
func TestReplaceBetweenAccountsIsRepeated(t *testing.T) {
	for at := range 3 {
		sh := share(t, 0, "lrswite")
		sh.bob.number("INBOX", 2)
		sh.bob.ok("SELECT INBOX")
		left := at
		broken := func(a mail.Account) mail.Account {
			return &nth{Account: a, left: &left, err: mail.ErrUnknown, silent: true}
		}
		sh.others.open = func(_ context.Context, a mail.Account) (mail.Account, error) { return broken(a), nil }
		home := sh.bob.home.account
		sh.bob.home.account = broken(home)
		command := "REPLACE 1 " + anns + " {14+}\r\nSubject: new\r\n"
		_, err := sh.bob.run("x " + command)
		sh.bob.home.account, sh.others.open = home, nil
		if (err == nil) != (at == 2) || err != nil && !errors.Is(err, mail.ErrUnknown) {
			t.Fatalf("operation %d: %v", at, err)
		}
		if err != nil {
			sh.bob.next--
			sh.bob.move(t)
			if out := sh.bob.ok("%s", command); !strings.Contains(out, "APPENDUID") {
				t.Errorf("operation %d: %s", at, out)
			}
		}
		if here, there := sh.bob.subjects("INBOX"), sh.bob.subjects(anns); !slices.Equal(here, []string{"001"}) || !slices.Equal(there, []string{"new"}) {
			t.Errorf("operation %d: %v and %v", at, here, there)
		}
	}
}
