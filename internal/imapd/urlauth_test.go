package imapd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/session"
)

var authorised = regexp.MustCompile(`"(imap://[^"]*)"`)

// authorise has a session authorise a URL of its INBOX for whom it names.
func (d *direct) authorise(rest string) string {
	d.t.Helper()
	out := d.ok(`GENURLAUTH "imap://%s@h/INBOX/%s" INTERNAL`, d.cfg.User, rest)
	return authorised.FindStringSubmatch(out)[1]
}

// urlFetched is what a session gets of URLs, "NIL" for nothing.
func (d *direct) urlFetched(urls ...string) (list []string) {
	d.t.Helper()
	out := d.ok(`URLFETCH "%s"`, strings.Join(urls, `" "`))
	for _, url := range urls {
		_, rest, ok := strings.Cut(out, `* URLFETCH "`+url+`" `)
		if !ok {
			d.t.Fatalf("no response for %s: %s", url, out)
		}
		data, rest, _ := strings.Cut(rest, "\r\n")
		if data != "NIL" {
			data, _, _ = strings.Cut(rest, "\r\n")
		}
		list, out = append(list, data), rest
	}
	return list
}

func TestURLsForWhoSubmitsAreForWhoActsForTheUser(t *testing.T) {
	sh := share(t, 1, "l")
	submit, stream := sh.ann.authorise(";uid=1;urlauth=submit+bob"), sh.ann.authorise(";uid=1;urlauth=stream")
	other, user := sh.ann.authorise(";uid=1;urlauth=submit+ann"), sh.ann.authorise(";uid=1;urlauth=user+bob")
	for by, want := range map[string]string{
		"": "[NIL NIL NIL Subject: x]", "bob": "[NIL NIL NIL Subject: x]", "smtp": "[Subject: x Subject: x NIL Subject: x]",
	} {
		sh.bob.cfg.By = by
		if got := fmt.Sprint(sh.bob.urlFetched(submit, stream, other, user)); got != want {
			t.Errorf("by %q: got %s, want %s", by, got, want)
		}
	}
}

// TestUsersOfURLsMayLackTheHostsDomain, which is then that of the URL.
func TestUsersOfURLsMayLackTheHostsDomain(t *testing.T) {
	s := newUsers(t).Server
	users := &mailtest.Users{Server: s, Names: map[string]mail.AccountID{"ann@example.org": everybody["ann"], "bob@example.org": everybody["bob"]}}
	ann, bob := newDirect(t, s.Account(everybody["ann"]), 1), newDirect(t, s.Account(everybody["bob"]), 2)
	ann.cfg.Others, ann.cfg.User = users.For(everybody["ann"]), "ann@example.org"
	bob.cfg.Others, bob.cfg.User = users.For(everybody["bob"]), "bob@example.org"
	ann.fill(1)
	for _, from := range []string{"ann@example.org", "ann@Example.org:143", "ann%40example.org@elsewhere.example", "ann@example.org@[2001:db8::1]"} {
		out := ann.ok(`GENURLAUTH "imap://%s/INBOX/;uid=1;urlauth=user+bob@example.org" INTERNAL`, from)
		if got := bob.urlFetched(authorised.FindStringSubmatch(out)[1]); got[0] != "Subject: x" {
			t.Errorf("%s: got %s", from, got)
		}
	}
	if out, _ := ann.run(`x GENURLAUTH "imap://ann@example.com/INBOX/;uid=1;urlauth=authuser" INTERNAL`); !strings.Contains(out, "x BAD URL is not one of this user's") {
		t.Errorf("got %s", out)
	}
}

// TestURLsOfOneWhoDoesNotAnswerGiveNothing, those of all others do, and what they wait
// together has an end.
func TestURLsOfOneWhoDoesNotAnswerGiveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sh := share(t, 1, "l")
		asked := 0
		sh.bob.cfg.Now = time.Now
		sh.others.names = func(id mail.AccountID) string { return fmt.Sprintf("u%d", id[1]) }
		sh.others.openAs = func(ctx context.Context, _ mail.Account) (mail.Account, error) {
			asked++
			<-ctx.Done()
			return nil, ctx.Err()
		}
		theirs := sh.ann.authorise(";uid=1;urlauth=authuser")
		sh.bob.ok("APPEND INBOX {10+}\r\nSubject: y")
		own := sh.bob.authorise(";uid=1;urlauth=authuser")
		began := time.Now()
		if got := fmt.Sprint(sh.bob.urlFetched(theirs, own, theirs)); got != "[NIL Subject: y NIL]" {
			t.Errorf("got %s", got)
		}
		if waited := time.Since(began); asked != 1 || waited > urlOwnerTime {
			t.Errorf("asked %d times for %v", asked, waited)
		}
		if out, err := sh.bob.run(`x APPEND INBOX CATENATE (URL "` + theirs + `")`); err != nil || !strings.Contains(out, "x NO [UNAVAILABLE]") {
			t.Errorf("CATENATE: %s, %v", out, err)
		}
		asked, began = 0, time.Now()
		var urls []string
		for i := range 99 {
			name := fmt.Sprintf("other%d", i)
			sh.users.Names[name] = mail.AccountID{9, byte(i)}
			urls = append(urls, strings.Replace(theirs, "imap://ann@", "imap://"+name+"@", 1))
		}
		if got := sh.bob.urlFetched(append(urls, own)...); got[0] != "NIL" || got[98] != "NIL" || got[99] != "Subject: y" {
			t.Errorf("got %s", got)
		}
		if waited := time.Since(began); asked > 4 || waited > urlTime {
			t.Errorf("asked %d times for %v", asked, waited)
		}
		sh.others.openAs = nil
		if got := sh.bob.urlFetched(theirs); got[0] != "Subject: x" {
			t.Errorf("got %s", got)
		}
		if out, _ := sh.bob.run("x URLFETCH" + strings.Repeat(" x", 101)); !strings.Contains(out, "x BAD More than 100 URLs") {
			t.Errorf("got %s", out)
		}
	})
}

// TestURLsEndTheSessionOnlyForItsOwnAccount.
func TestURLsEndTheSessionOnlyForItsOwnAccount(t *testing.T) {
	sh := share(t, 1, "l")
	theirs := sh.ann.authorise(";uid=1;urlauth=authuser")
	f := &failing{Account: sh.users.Server.Account(everybody["bob"])}
	bob := newDirect(t, f, 3)
	bob.cfg.Others, bob.cfg.User = sh.others, "bob"
	for _, err := range []error{mail.ErrMoved, mail.ErrBusy, errors.New("broken")} {
		sh.others.openAs = func(_ context.Context, a mail.Account) (mail.Account, error) {
			return &failing{Account: a, view: err}, nil
		}
		if got := bob.urlFetched(theirs); got[0] != "NIL" {
			t.Errorf("%v: got %s", err, got)
		}
	}
	f.view = mail.ErrMoved
	if _, err := bob.run(`x URLFETCH "` + theirs + `"`); ReasonOf(err) != session.Moved {
		t.Errorf("got %v", err)
	}
}

// TestNothingOfAURLIsLogged but whose it is and why it gives nothing.
func TestNothingOfAURLIsLogged(t *testing.T) {
	var log strings.Builder
	sh := share(t, 1, "l")
	sh.bob.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	url := sh.ann.authorise(";uid=1;urlauth=user+ann")
	token := url[strings.LastIndexByte(url, ':')+1:]
	broken := sh.ann.authorise(";uid=1;urlauth=authuser")
	sh.others.openAs = func(_ context.Context, a mail.Account) (mail.Account, error) { return nil, errors.New("network down") }
	sh.bob.urlFetched(url, broken, "imap://ann@h/INBOX/;uid=1;urlauth=user+bob:internal:"+token)
	if out, _ := sh.bob.run(`x APPEND INBOX CATENATE (URL "` + url + `")`); !strings.Contains(out, "BADURL") {
		t.Errorf("got %s", out)
	}
	text := log.String()
	if !strings.Contains(text, "it is for somebody else") || !strings.Contains(text, "network down") || strings.Contains(text, token) || strings.Contains(text, "imap://") {
		t.Errorf("got %s", text)
	}
}

// TestRepeatedURLCommandsGiveTheSame: one whose answer was lost, at another master.
func TestRepeatedURLCommandsGiveTheSame(t *testing.T) {
	d := newDirect(t, newAccount(t), 1)
	d.fill(1)
	const command = `GENURLAUTH imap://ann@h/INBOX/;uid=1;urlauth=authuser INTERNAL`
	d.lose(t, command)
	d.move(t)
	first := d.ok(command)
	url := authorised.FindStringSubmatch(first)[1]
	if second := d.ok(command); second != first {
		t.Errorf("got %s, then %s", first, second)
	}
	d.lose(t, "RESETKEY")
	d.move(t)
	d.ok("RESETKEY")
	if got := d.urlFetched(url); got[0] != "NIL" {
		t.Errorf("got %s", got)
	}
}
