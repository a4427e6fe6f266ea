package state

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// tester is what both *testing.T and *rapid.T are.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// harness is a store in memory that keeps its operations.
type harness struct {
	t     tester
	kv    *MapKV
	build *Builder
	at    cluster.LSN
	now   time.Time
	log   []logged
	stage *Stager
}

type logged struct {
	at      cluster.LSN
	encoded []byte
	outcome Outcome
}

func newHarness(t tester) *harness {
	h := &harness{t: t, kv: NewMapKV(), at: 1 << 20, now: testTime, stage: NewStager(nil)}
	h.build = newBuilder(3, func() time.Time { return h.now })
	return h
}

// apply does what the journal and the applier do with a proposal.
func (h *harness) apply(p *Proposal, err error) Outcome {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, c := range p.Chunks {
		h.at += cluster.LSN(7 + len(c))
	}
	op, err := operation.Decode(p.Encoded)
	if err != nil {
		h.t.Fatal(err)
	}
	checked := Check(h.kv, op)
	out, err := Apply(h.kv, h.at, cluster.CurrentLevel, op)
	if err != nil {
		h.t.Fatal(err)
	}
	if checked != nil && !errors.Is(out.Code.Err(), checked) {
		h.t.Errorf("Check refused with %v what Apply answers with %v", checked, out.Code.Err())
	}
	h.log = append(h.log, logged{h.at, p.Encoded, out})
	h.at += cluster.LSN(7 + len(p.Encoded))
	return out
}

func (h *harness) account(id mail.AccountID) mail.AccountID {
	h.t.Helper()
	if out := h.apply(h.build.CreateAccount(mail.Actor{}, id, NewAccount{})); out.Code != Done {
		h.t.Fatalf("create account: %v", out.Code.Err())
	}
	return id
}

func (h *harness) try(a mail.AccountID, op mail.Op) Outcome {
	h.t.Helper()
	return h.apply(h.build.Propose(a, mail.Request{Op: op}))
}

func (h *harness) do(a mail.AccountID, op mail.Op) mail.Result {
	h.t.Helper()
	out := h.try(a, op)
	if out.Code != Done {
		h.t.Fatalf("%T: %v", op, out.Code.Err())
	}
	return out.Result
}

func (h *harness) body(content string) *Staged {
	h.t.Helper()
	st, err := h.stage.Stage(context.Background(), strings.NewReader(content), mail.MaxMessageSize)
	if err != nil {
		h.t.Fatal(err)
	}
	return st
}

func (h *harness) view(a mail.AccountID) *View {
	h.t.Helper()
	v, err := NewView(h.kv.Snapshot(), a, nil, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

func (h *harness) box(a mail.AccountID, name string) mail.MailboxInfo {
	h.t.Helper()
	m, err := h.view(a).Lookup(name)
	if err != nil {
		h.t.Fatalf("look up %q: %v", name, err)
	}
	return m
}

// add appends a message for each set of flags.
func (h *harness) add(a mail.AccountID, box string, flags ...mail.Flags) mail.Result {
	h.t.Helper()
	op := mail.Append{Mailbox: h.box(a, box).ID}
	for _, f := range flags {
		op.Messages = append(op.Messages, mail.NewMessage{Body: h.body("Subject: x\r\n\r\n"), Flags: f})
	}
	return h.do(a, op)
}

// purge lets what was deleted up to a time go.
func (h *harness) purge(a mail.AccountID, before mail.Instant) Outcome {
	h.t.Helper()
	return h.apply(h.build.Purge(mail.Actor{Command: "purge"}, a, Purge{Deleted: before}))
}

func (h *harness) undelete(a mail.AccountID, u Undelete) Outcome {
	h.t.Helper()
	return h.apply(h.build.Undelete(mail.Actor{By: "operator"}, mail.OpID{}, a, u))
}

func (h *harness) audit() {
	h.t.Helper()
	if err := Audit(h.kv); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) digest() Sum {
	h.t.Helper()
	sum, err := StoreDigest(h.kv)
	if err != nil {
		h.t.Fatal(err)
	}
	return sum
}

// replay applies the log from a point on to a copy of an earlier state.
func (h *harness) replay(from *MapKV, log []logged) *MapKV {
	h.t.Helper()
	kv := from.Snapshot()
	for _, l := range log {
		op, err := operation.Decode(l.encoded)
		if err != nil {
			h.t.Fatal(err)
		}
		if _, err := Apply(kv, l.at, cluster.CurrentLevel, op); err != nil {
			h.t.Fatal(err)
		}
	}
	return kv
}

// bodies counts the bodies of the store.
func (h *harness) bodies() (n int) {
	for range h.kv.Scan([]byte{spaceBody}, []byte{spaceBody + 1}) {
		n++
	}
	return n
}

// keys counts the keys of an account's kind.
func (h *harness) keys(a mail.AccountID, kind byte) (n int) {
	from := accountKey(nil, a, kind)
	for range h.kv.Scan(from, prefixEnd(from)) {
		n++
	}
	return n
}

func equal[T comparable](t tester, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

var everyUID = mail.UIDSet{{Lo: 1, Hi: 1<<32 - 1}}

var _ tester = (*testing.T)(nil)
