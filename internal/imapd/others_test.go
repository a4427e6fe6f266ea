package imapd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/session"
)

// altering are others whose accounts are not as they should be.
type altering struct {
	mailtest.Others
	owners []mail.AccountID
	names  func(mail.AccountID) string
	open   func(context.Context, mail.Account) (mail.Account, error)
	openAs func(context.Context, mail.Account) (mail.Account, error)
}

func (o *altering) OpenAs(ctx context.Context, owner, user mail.AccountID) (mail.Account, error) {
	if o.openAs != nil {
		return o.openAs(ctx, o.Server.Account(owner).As(user))
	}
	return o.Others.OpenAs(ctx, owner, user)
}

func (o *altering) Owners(ctx context.Context) ([]mail.AccountID, error) {
	if o.owners != nil {
		return o.owners, nil
	}
	return o.Others.Owners(ctx)
}

func (o *altering) Name(ctx context.Context, id mail.AccountID) (name string, shared bool, err error) {
	if o.names != nil {
		return o.names(id), false, nil
	}
	return o.Others.Name(ctx, id)
}

func (o *altering) Open(ctx context.Context, owner mail.AccountID) (mail.Account, error) {
	a, err := o.Others.Open(ctx, owner)
	if err != nil || o.open == nil {
		return a, err
	}
	return o.open(ctx, a)
}

// sharing is ann, who shares, and bob, who is shared with.
type sharing struct {
	users    *mailtest.Users
	ann, bob *direct
	others   *altering // as bob sees them
}

// share gives bob these rights in ann's INBOX, with n messages.
func share(t testing.TB, n int, rights string) *sharing {
	t.Helper()
	sh := &sharing{users: newUsers(t)}
	sh.others = &altering{Others: sh.users.For(everybody["bob"])}
	sh.ann, sh.bob = newDirect(t, sh.users.Server.Account(everybody["ann"]), 1), newDirect(t, sh.users.Server.Account(everybody["bob"]), 2)
	sh.ann.cfg.Others = sh.users.For(everybody["ann"])
	sh.bob.cfg.Others, sh.bob.cfg.User = sh.others, "bob"
	sh.ann.fill(n)
	sh.ann.ok("SETACL INBOX bob %s", rights)
	return sh
}

const anns = `"Other Users/ann/INBOX"`

func TestSessionInAnothersMailboxGoesOnElsewhere(t *testing.T) {
	sh := share(t, 3, "lrswite")
	sh.bob.ok("SELECT " + anns)
	sh.bob.move(t)
	sh.ann.fill(1)
	if out := sh.bob.ok(`STORE 1 +FLAGS (\Deleted)`); !strings.Contains(out, "* 1 FETCH (FLAGS (\\Deleted \\Recent))\r\n") || !strings.Contains(out, "* 4 EXISTS") {
		t.Errorf("got %s", out)
	}
	sh.bob.lose(t, "EXPUNGE")
	sh.bob.move(t)
	if out := sh.bob.ok("EXPUNGE"); !strings.Contains(out, "* 1 EXPUNGE\r\n") {
		t.Errorf("got %s", out)
	}
	if out := sh.bob.ok("ESEARCH IN (SELECTED) ALL"); !strings.Contains(out, "MAILBOX "+anns) || !strings.Contains(out, "ALL 2:4") {
		t.Errorf("got %s", out)
	}
	if out := sh.bob.ok("STATUS INBOX (MESSAGES)"); !strings.Contains(out, "MESSAGES 0") {
		t.Errorf("got %s", out)
	}
	for name, x := range map[string]struct {
		change func(*session.Token)
		want   error
	}{
		"another history": {func(k *session.Token) { k.Selected.Fork++ }, ErrNotResumable},
		"another sum":     {func(k *session.Token) { k.Selected.Sum++ }, ErrNotResumable},
		"nobody's":        {func(k *session.Token) { k.Selected.Owner[5]++ }, errGone},
		"one's own":       {func(k *session.Token) { k.Selected.Owner = everybody["bob"] }, errGone},
		"other's mailbox": {func(k *session.Token) { k.Selected.Mailbox[0]++ }, errGone},
	} {
		if err := sh.bob.moveWith(x.change); !errors.Is(err, x.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	sh.ann.ok("DELETEACL INBOX bob")
	if err := sh.bob.moveWith(func(*session.Token) {}); ReasonOf(err) != session.Gone {
		t.Errorf("without rights: got %v", err)
	}
	if _, err := sh.bob.run("x NOOP"); ReasonOf(err) != session.Gone {
		t.Errorf("without rights: got %v", err)
	}
}

// forked is an account with another history.
type forked struct{ mail.Account }

func (f forked) View(ctx context.Context) (mail.View, error) {
	v, err := f.Account.View(ctx)
	return forkedView{v}, err
}

type forkedView struct{ mail.View }

func (v forkedView) Account() (mail.AccountInfo, error) {
	info, err := v.View.Account()
	info.Fork++
	return info, err
}

// TestForkOfTheOwnersAccountEndsTheSession, before a command does anything there.
func TestForkOfTheOwnersAccountEndsTheSession(t *testing.T) {
	for _, command := range []string{"NOOP", "FETCH 1 UID", "EXPUNGE", `STORE 1 FLAGS (\Seen)`, "COPY 1 Archive", "IDLE"} {
		sh := share(t, 1, "lrswite")
		sh.bob.ok("SELECT " + anns)
		sh.bob.ok(`STORE 1 +FLAGS (\Deleted)`)
		sh.bob.at.account = forked{sh.bob.at.account}
		if _, err := sh.bob.run("x " + command); ReasonOf(err) != session.NotResumable {
			t.Errorf("%s: got %v", command, err)
		}
		if out := sh.ann.ok("STATUS INBOX (MESSAGES)"); !strings.Contains(out, "MESSAGES 1") {
			t.Errorf("%s: %s", command, out)
		}
	}
}

// TestAnothersStoreThatDoesNotAnswerIsARefusal for who names it; who has it selected waits.
func TestAnothersStoreThatDoesNotAnswerIsARefusal(t *testing.T) {
	for _, away := range []error{mail.ErrMoved, mail.ErrBusy} {
		sh := share(t, 1, "lrswite")
		sh.bob.fill(1)
		sh.bob.ok("SELECT INBOX")
		for name, open := range map[string]func(context.Context, mail.Account) (mail.Account, error){
			"closed": func(context.Context, mail.Account) (mail.Account, error) { return nil, away },
			"unviewed": func(_ context.Context, a mail.Account) (mail.Account, error) {
				return &failing{Account: a, view: away}, nil
			},
		} {
			sh.others.open = open
			for _, command := range []string{
				"STATUS " + anns + " (MESSAGES)", "APPEND " + anns + " {1+}\r\nx", "COPY 1 " + anns, "MOVE 1 " + anns, "GETACL " + anns, "EXAMINE " + anns,
			} {
				if out, err := sh.bob.run("x " + command); err != nil || !strings.Contains(out, "x NO [UNAVAILABLE] Mailboxes of this user") {
					t.Errorf("%s, %v: %s: got %s, %v", name, away, command, out, err)
				}
			}
			sh.bob.ok("SELECT INBOX")
			if out := sh.bob.ok("SEARCH ALL"); !strings.HasPrefix(out, "* SEARCH 1\r\n") {
				t.Errorf("got %s", out)
			}
		}
		f := new(failing)
		sh.others.open = func(_ context.Context, a mail.Account) (mail.Account, error) { f.Account = a; return f, nil }
		sh.bob.ok("SELECT " + anns)
		if f.do = away; true {
			if _, err := sh.bob.run(`x STORE 1 +FLAGS (\Deleted)`); ReasonOf(err) != session.Busy {
				t.Errorf("got %v", err)
			}
		}
		f.do, f.view = nil, away
		if _, err := sh.bob.run("x NOOP"); ReasonOf(err) != session.Busy {
			t.Errorf("got %v", err)
		}
		if err := sh.bob.moveWith(func(*session.Token) {}); ReasonOf(err) != session.Busy {
			t.Errorf("got %v", err)
		}
	}
}

func TestListLeavesOutWhoDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sh := share(t, 0, "lr")
		asked := 0
		silent := func(ctx context.Context, _ mail.Account) (mail.Account, error) {
			asked++
			<-ctx.Done()
			return nil, ctx.Err()
		}
		sh.others.open = silent
		if out := sh.bob.ok(`LIST "" "*"`); strings.Contains(out, "ann") || !strings.Contains(out, "INBOX") {
			t.Errorf("got %s", out)
		}
		sh.bob.ok("SUBSCRIBE " + anns)
		if out := sh.bob.ok(`LIST (SUBSCRIBED) "" "Oth*"`); !strings.Contains(out, `* LIST (\HasNoChildren \Subscribed) "/" `+anns) {
			t.Errorf("got %s", out)
		}
		asked = 0
		for _, pattern := range []string{"INBOX", "I*", "Other", "Other Users/bo*", "Other Users/annabel/%", "Otherwise*"} {
			sh.bob.ok(`LIST "" "%s"`, pattern)
		}
		sh.bob.ok(`LSUB "" "*"`)
		if asked != 0 {
			t.Errorf("%d owners were asked in vain", asked)
		}
		sh.others.open = func(context.Context, mail.Account) (mail.Account, error) { panic("a bug") }
		if out := sh.bob.ok(`LIST "" "*"`); !strings.Contains(out, "INBOX") {
			t.Errorf("got %s", out)
		}
		sh.others.open = nil
		if out := sh.bob.ok(`LIST "" "*"`); !strings.Contains(out, anns) {
			t.Errorf("got %s", out)
		}
	})
}

func TestListOfOthersIsBounded(t *testing.T) {
	sh := share(t, 0, "lr")
	ids := map[mail.AccountID]string{}
	for i := range maxOwners + 50 {
		id := mail.AccountID{1, byte(i), byte(i >> 8)}
		ids[id] = fmt.Sprintf("u%04d", i)
		sh.others.owners = append(sh.others.owners, id)
	}
	sh.others.names = func(id mail.AccountID) string { return ids[id] }
	ann, asked := sh.users.Server.Account(everybody["ann"]).As(everybody["bob"]), make(chan struct{}, len(ids))
	sh.bob.cfg.Others = openAny{sh.others, func() mail.Account { asked <- struct{}{}; return ann }}
	out := sh.bob.ok(`LIST "" "Other Users/*"`)
	if n := strings.Count(out, "/INBOX\""); n != maxOwners || len(asked) != maxOwners {
		t.Errorf("%d owners were asked, %d are listed", len(asked), n)
	}
}

// openAny opens any account as one.
type openAny struct {
	*altering
	open func() mail.Account
}

func (o openAny) Open(context.Context, mail.AccountID) (mail.Account, error) { return o.open(), nil }

// keeping is an account with mailboxes that a client cannot make.
func (d *direct) keeping(names ...string) {
	d.t.Helper()
	for i, name := range names {
		req := mail.Request{ID: mail.OpID{Session: mail.SessionID{99}, Number: uint64(i + 1)}, Op: mail.Create{Name: name}}
		if _, err := d.home.account.Do(d.t.Context(), req); err != nil {
			d.t.Fatal(err)
		}
	}
}

// TestMailboxFromBeforeItsNameWasForOthersStaysOnesOwn, and can be renamed. No other can be
// made.
func TestMailboxFromBeforeItsNameWasForOthersStaysOnesOwn(t *testing.T) {
	sh := share(t, 0, "lr")
	sh.bob.keeping("Shared/old", "Other Users/ann/INBOX")
	if out := sh.bob.ok(`LIST "" ("Shared*" "Other*")`); out != `* LIST (\NonExistent \HasChildren) "/" "Other Users"`+"\r\n"+
		`* LIST (\NonExistent \HasChildren) "/" "Other Users/ann"`+"\r\n"+`* LIST (\HasNoChildren) "/" `+anns+"\r\n"+
		`* LIST (\NonExistent \HasChildren) "/" Shared`+"\r\n"+`* LIST (\HasNoChildren) "/" Shared/old`+"\r\nx OK LIST completed\r\n" {
		t.Errorf("got %s", out)
	}
	for _, name := range []string{"Shared/old", anns} {
		sh.bob.ok("APPEND %s {3+}\r\nown", name)
		if out := sh.bob.ok("STATUS %s (MESSAGES)", name); !strings.Contains(out, "MESSAGES 1") {
			t.Errorf("%s: got %s", name, out)
		}
	}
	if out := sh.ann.ok("STATUS INBOX (MESSAGES)"); !strings.Contains(out, "MESSAGES 0") {
		t.Errorf("ann's: got %s", out)
	}
	if out := sh.bob.ok(`ESEARCH IN (SUBTREE Shared) ALL`); !strings.Contains(out, "MAILBOX Shared/old") {
		t.Errorf("got %s", out)
	}
	if out := sh.bob.ok(`GETQUOTAROOT Shared/old`); !strings.Contains(out, "* QUOTA ") {
		t.Errorf("got %s", out)
	}
	sh.bob.ok("RENAME Shared/old New")
	sh.bob.ok("RENAME %s Kept", anns)
	for command, code := range map[string]string{"RENAME New Shared/old": "NOPERM", "CREATE Shared/old": "NOPERM", "STATUS Shared/old (MESSAGES)": "NONEXISTENT"} {
		if out, err := sh.bob.run("x " + command); err != nil || !strings.Contains(out, "x NO ["+code+"]") {
			t.Errorf("%s: got %s, %v", command, out, err)
		}
	}
	if out := sh.bob.ok("STATUS %s (MESSAGES)", anns); !strings.Contains(out, "MESSAGES 0") {
		t.Errorf("ann's: got %s", out)
	}
}

// TestAccountThatBecomesSharedIsFoundByItsNewNames, and is one account to who has its
// mailbox selected: MOVE within it is one operation.
func TestAccountThatBecomesSharedIsFoundByItsNewNames(t *testing.T) {
	sh := share(t, 2, "lrswite")
	sh.ann.ok("CREATE Done")
	sh.ann.ok("SETACL Done bob lrswite")
	sh.bob.ok("SELECT " + anns)
	sh.users.Shared[everybody["ann"]] = true
	if out, err := sh.bob.run(`x STATUS "Other Users/ann/Done" (MESSAGES)`); err != nil || !strings.Contains(out, "x NO [NONEXISTENT]") {
		t.Errorf("by the old name: got %s, %v", out, err)
	}
	if out := sh.bob.ok("MOVE 1 Shared/ann/Done"); !strings.Contains(out, "* 1 EXPUNGE") {
		t.Errorf("got %s", out)
	}
	if out := sh.bob.ok("ESEARCH IN (SELECTED) ALL"); !strings.Contains(out, "MAILBOX Shared/ann/INBOX") || !strings.Contains(out, "ALL 2") {
		t.Errorf("got %s", out)
	}
	if out := sh.bob.ok(`LIST "" ("Other*" "Shared/ann/*") RETURN (STATUS (MESSAGES))`); strings.Contains(out, "Other") ||
		!strings.Contains(out, "* STATUS Shared/ann/Done (MESSAGES 1)") || !strings.Contains(out, "* STATUS Shared/ann/INBOX (MESSAGES 1)") {
		t.Errorf("got %s", out)
	}
	sh.bob.move(t)
	sh.bob.ok("COPY 1 Shared/ann/Done")
}
