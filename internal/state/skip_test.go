package state

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

func TestSkippedOperationOnlyFreezesTheAccountsItNames(t *testing.T) {
	h := newHarness(t)
	ann, bob, gone := h.account(mail.AccountID{1}), h.account(mail.AccountID{2}), mail.AccountID{9}
	p, err := h.build.Deliver(Delivery{Transaction: mail.TransactionID{1}, Body: h.body("Subject: x\r\n\r\n"), Recipients: []Recipient{
		{Account: ann}, {Number: 1, Account: gone}, {Number: 2, Account: ann},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := Named(p.Op); !slices.Equal(got, []mail.AccountID{ann, gone}) {
		t.Errorf("it names %v", got)
	}
	before := h.box(ann, "inbox")
	digest, err := StoreDigest(h.kv)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Skip(h.kv, 7, p.Op); err != nil {
		t.Fatal(err)
	}
	if after := h.box(ann, "inbox"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("INBOX %+v, was %+v", after, before)
	}
	if now, err := StoreDigest(h.kv); err != nil || now == digest {
		t.Errorf("a copy that did not skip it has the same digest: %v", err)
	}
	for lsn, want := range map[cluster.LSN]bool{7: true, 8: false} {
		if got, err := Skipped(h.kv, lsn); err != nil || got != want {
			t.Errorf("skipped at %d: %v, %v", lsn, got, err)
		}
	}
	for _, a := range []struct {
		id   mail.AccountID
		code Code
	}{{ann, Frozen}, {bob, Done}, {gone, NoAccount}} {
		if out := h.try(a.id, mail.Create{Name: "x"}); out.Code != a.code {
			t.Errorf("change of %v: %v", a.id, out.Code.Err())
		}
	}
	if out := h.apply(h.build.Freeze(mail.Actor{}, ann, false, "looked at it")); out.Code != Done {
		t.Errorf("thaw: %v", out.Code.Err())
	}
	h.do(ann, mail.Create{Name: "x"})
}

func TestForkCannotBeSkipped(t *testing.T) {
	h := newHarness(t)
	p, err := h.build.Fork(mail.Actor{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Skip(h.kv, 7, p.Op); !errors.Is(err, errFork) {
		t.Errorf("got %v", err)
	}
	if _, err := Skip(h.kv, 7, nil); err != nil || Named(&operation.Operation{Kind: p.Op.Kind}) != nil {
		t.Errorf("unreadable octets: %v", err)
	}
}

// TestSkippedPurgeIsNotProposedAgain: it would stop the store again.
func TestSkippedPurgeIsNotProposedAgain(t *testing.T) {
	h := newHarness(t)
	ann := h.account(mail.AccountID{1})
	h.apply(h.build.Freeze(mail.Actor{}, ann, true, "moving"))
	h.apply(h.build.DeleteAccount(mail.Actor{}, ann))
	h.now = h.now.Add(time.Hour)
	due := func() int {
		list, _, err := Due(h.kv, mail.AccountID{}, 10, mail.InstantOf(h.now), mail.InstantOf(h.now))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if due() != 1 {
		t.Error("a frozen account that was deleted is never purged")
	}
	p, err := h.build.Purge(mail.Actor{}, ann, Purge{Deleted: mail.InstantOf(h.now)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Skip(h.kv, 7, p.Op); err != nil {
		t.Fatal(err)
	}
	if due() != 0 {
		t.Error("due again")
	}
}
