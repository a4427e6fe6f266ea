package mailtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
)

// Run holds an implementation of mail.Account to its contract. fresh gives an
// account nobody else uses, with the mailboxes of a new user, empty, without a
// quota; what it needs ends with its t.
func Run(t *testing.T, fresh func(t *testing.T) mail.Account) {
	for _, group := range [][]property{
		newAccountProperties, appendProperties, flagProperties, copyProperties, expungeProperties,
		nameProperties, onceProperties, viewProperties, replaceProperties, sharedProperties, metadataProperties, accessProperties,
	} {
		for _, p := range group {
			t.Run(p.name, func(t *testing.T) { p.check(newFixture(t, fresh(t))) })
		}
	}
}

// property is one sentence of the contract.
type property struct {
	name  string
	check func(*fixture)
}

// fixture is an account under test and a session that uses it.
type fixture struct {
	*testing.T
	acct    mail.Account
	session mail.SessionID
	number  *uint64
}

func newFixture(t *testing.T, a mail.Account) *fixture {
	return &fixture{T: t, acct: a, session: mail.SessionID{1, 2, 3}, number: new(uint64)}
}

// try does op as the session's next command.
func (f *fixture) try(op mail.Op) (mail.Result, error) {
	*f.number++
	return f.acct.Do(f.Context(), mail.Request{
		ID:    mail.OpID{Session: f.session, Number: *f.number},
		Actor: mail.Actor{User: "test", Command: fmt.Sprintf("%T", op)},
		Op:    op,
	})
}

func (f *fixture) do(op mail.Op) mail.Result {
	f.Helper()
	res, err := f.try(op)
	if err != nil {
		f.Fatalf("%T: %v", op, err)
	}
	return res
}

// refused does op and wants this refusal, and nothing changed by it.
func (f *fixture) refused(op mail.Op, want error) {
	f.Helper()
	before := f.account()
	if _, err := f.try(op); !errors.Is(err, want) {
		f.Fatalf("%T: got %v, want %v", op, err, want)
	}
	if after := f.account(); after != before {
		f.Errorf("refused %T changed the account: %+v, was %+v", op, after, before)
	}
}

func (f *fixture) view() mail.View {
	f.Helper()
	v, err := f.acct.View(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(v.Close)
	return v
}

func (f *fixture) account() mail.AccountInfo {
	f.Helper()
	info, err := f.view().Account()
	if err != nil {
		f.Fatal(err)
	}
	return info
}

func (f *fixture) mailbox(name string) mail.MailboxInfo {
	f.Helper()
	m, err := f.view().Lookup(name)
	if err != nil {
		f.Fatalf("look up %q: %v", name, err)
	}
	return m
}

func (f *fixture) id(name string) mail.MailboxID { f.Helper(); return f.mailbox(name).ID }

func (f *fixture) stage(content string) mail.Body {
	f.Helper()
	b, err := f.acct.Stage(f.Context(), strings.NewReader(content), mail.MaxMessageSize)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { b.Close() })
	return b
}

// add appends one message for each set of flags.
func (f *fixture) add(box string, flags ...mail.Flags) mail.Result {
	f.Helper()
	op := mail.Append{Mailbox: f.id(box)}
	for i, fl := range flags {
		content := fmt.Sprintf("Subject: %s %d\r\n\r\nhello\r\n", box, i)
		op.Messages = append(op.Messages, mail.NewMessage{Body: f.stage(content), Flags: fl})
	}
	return f.do(op)
}

// addKeyword appends a message that carries these keywords.
func (f *fixture) addKeyword(box string, words ...string) mail.Result {
	f.Helper()
	return f.do(mail.Append{Mailbox: f.id(box), Messages: []mail.NewMessage{
		{Body: f.stage("Subject: k\r\n\r\n"), Keywords: words},
	}})
}

func (f *fixture) flags(m mail.MailboxID, since mail.ModSeq) []mail.MessageFlags {
	f.Helper()
	return collect(f, f.view().Flags(m, 1, maxUID, since))
}

const maxUID = mail.UID(1<<32 - 1)

func (f *fixture) messages(m mail.MailboxID) []mail.Message {
	f.Helper()
	return collect(f, f.view().Messages(m, 1, maxUID))
}

// listed gives the UIDs that both sequences agree on.
func (f *fixture) listed(m mail.MailboxID) string {
	f.Helper()
	var flags, messages mail.UIDSet
	for _, m := range f.flags(m, 0) {
		flags = flags.Add(m.UID)
	}
	for _, m := range f.messages(m) {
		messages = messages.Add(m.UID)
	}
	if flags.String() != messages.String() {
		f.Errorf("Flags lists %v, Messages %v", flags, messages)
	}
	return flags.String()
}

func (f *fixture) expunged(m mail.MailboxID, since mail.ModSeq) (s []string) {
	f.Helper()
	for _, t := range collect(f, f.view().Expunged(m, since)) {
		s = append(s, fmt.Sprintf("%d:%v", t.ModSeq, t.UIDs))
	}
	return s
}

func collect[T any](f *fixture, seq func(yield func(T, error) bool)) (list []T) {
	f.Helper()
	for v, err := range seq {
		if err != nil {
			f.Fatal(err)
		}
		list = append(list, v)
	}
	return list
}

// content reads a whole message.
func (f *fixture) content(v mail.View, m mail.Message) string {
	f.Helper()
	c, err := v.Open(context.WithoutCancel(f.Context()), m)
	if err != nil {
		f.Fatal(err)
	}
	defer c.Close()
	return f.read(c)
}

func (f *fixture) read(c mail.Content) string {
	f.Helper()
	b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	if err != nil {
		f.Fatal(err)
	}
	return string(b)
}

func equal[T comparable](f *fixture, what string, got, want T) {
	f.Helper()
	if got != want {
		f.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func set(ranges ...mail.UID) mail.UIDSet {
	var s mail.UIDSet
	for _, u := range ranges {
		s = s.Add(u)
	}
	return s
}

var all = mail.UIDSet{{Lo: 1, Hi: maxUID}}
