package state

import (
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// deliveryHarness delivers one text to one account, under transactions of choice.
type deliveryHarness struct {
	*harness
	a mail.AccountID
}

func newDeliveryHarness(t *testing.T) deliveryHarness {
	h := newHarness(t)
	return deliveryHarness{h, h.account(mail.AccountID{1})}
}

func (h deliveryHarness) deliver(transaction byte) RecipientOutcome {
	h.t.Helper()
	out := h.apply(h.build.Deliver(Delivery{
		Transaction: mail.TransactionID{transaction}, Body: h.body("Subject: x\n\nsame\n"),
		Recipients: []Recipient{{Account: h.a, ContentKey: [32]byte{5}}},
	}))
	return out.Recipients[0]
}

func (h deliveryHarness) settle(confirmed, doubt []byte) {
	h.t.Helper()
	refs := func(list []byte) (refs []DeliveryRef) {
		for _, b := range list {
			refs = append(refs, DeliveryRef{h.a, mail.TransactionID{b}, 0})
		}
		return refs
	}
	h.apply(h.build.Settle(mail.Actor{}, refs(confirmed), refs(doubt)))
}

func (h deliveryHarness) messages() uint32 { h.t.Helper(); return h.box(h.a, "INBOX").Messages }

func TestSameTransactionIsDeliveredOnce(t *testing.T) {
	h := newDeliveryHarness(t)
	first, again := h.deliver(1), h.deliver(1)
	equal(t, "repeated", again.Repeated, true)
	equal(t, "UIDs", again.Result.UIDs.String(), first.Result.UIDs.String())
	equal(t, "messages", h.messages(), 1)
	equal(t, "bodies", h.bodies(), 1)
	h.audit()
}

func TestIdenticalMailOnOtherConnectionsIsOtherMail(t *testing.T) {
	h := newDeliveryHarness(t)
	for i := range 100 {
		if o := h.deliver(byte(i)); o.Duplicate || o.Code != Done {
			t.Fatalf("delivery %d: %+v", i, o)
		}
	}
	equal(t, "messages", h.messages(), 100)
}

func TestOnlyDoubtSuppressesARetry(t *testing.T) {
	h := newDeliveryHarness(t)
	first := h.deliver(1)
	h.settle(nil, []byte{1})
	retry := h.deliver(2)
	equal(t, "duplicate", retry.Duplicate, true)
	equal(t, "UIDs", retry.Result.UIDs.String(), first.Result.UIDs.String())
	equal(t, "messages", h.messages(), 1)
	// The doubt has passed to the retry: other mail with the same octets is stored.
	equal(t, "another", h.deliver(3).Duplicate, false)
	// The retry's reply is lost too.
	h.settle([]byte{3}, []byte{2})
	equal(t, "second retry", h.deliver(4).Duplicate, true)
	h.settle([]byte{4}, nil)
	equal(t, "after it was confirmed", h.deliver(5).Duplicate, false)
	equal(t, "messages", h.messages(), 3)
	h.audit()
}

func TestConfirmedDeliveryNeverSuppresses(t *testing.T) {
	h := newDeliveryHarness(t)
	h.deliver(1)
	h.settle([]byte{1}, nil)
	h.settle(nil, []byte{1}) // too late to doubt
	equal(t, "marks", h.keys(h.a, kindContent), 0)
	equal(t, "duplicate", h.deliver(2).Duplicate, false)
}

func TestDeliveryOfADeadRouterComesIntoDoubtByItself(t *testing.T) {
	h := newDeliveryHarness(t)
	h.deliver(1)
	h.now = h.now.Add(DoubtAfter.Time().Sub(mail.Instant(0).Time()))
	equal(t, "duplicate", h.deliver(2).Duplicate, true)
}

func TestDoubtEndsAfterFiveDays(t *testing.T) {
	h := newDeliveryHarness(t)
	h.deliver(1)
	h.settle(nil, []byte{1})
	h.now = h.now.Add(5*24*time.Hour - time.Second)
	h.do(h.a, mail.Create{Name: "x"}) // an operation that expires what is due
	equal(t, "duplicate within five days", h.deliver(2).Duplicate, true)
	h.settle(nil, []byte{2})
	h.now = h.now.Add(5 * 24 * time.Hour)
	equal(t, "duplicate after five days", h.deliver(3).Duplicate, false)
}

func TestDeliveryResultsExpire(t *testing.T) {
	h := newDeliveryHarness(t)
	for i := range 20 {
		h.deliver(byte(i))
		h.settle([]byte{byte(i)}, nil)
	}
	equal(t, "results", h.keys(h.a, kindDelivery), 20)
	h.now = h.now.Add(24 * time.Hour)
	h.do(h.a, mail.Create{Name: "x"})
	equal(t, "results after one operation", h.keys(h.a, kindDelivery), 20-expirePerOperation)
	h.purge(h.a, 0)
	equal(t, "results after a purge", h.keys(h.a, kindDelivery), 0)
	equal(t, "queue", h.keys(h.a, kindExpiry), 0)
	h.audit()
}

func TestRefusedRecipientIsRememberedAndOthersAreStored(t *testing.T) {
	h := newHarness(t)
	full, roomy := h.account(mail.AccountID{1}), h.account(mail.AccountID{2})
	h.do(full, mail.SetQuota{LimitOctets: 5})
	d := Delivery{
		Transaction: mail.TransactionID{1}, Body: h.body("Subject: x\n\n"),
		Recipients: []Recipient{{Number: 0, Account: full}, {Number: 1, Account: roomy}, {Number: 2, Account: roomy}},
	}
	for round := range 2 {
		out := h.apply(h.build.Deliver(d)).Recipients
		equal(t, "full", out[0].Code, OverQuota)
		equal(t, "roomy", out[1].Code, Done)
		equal(t, "repeated", out[0].Repeated && out[1].Repeated, round == 1)
		h.do(full, mail.SetQuota{}) // too late: the answer was no
	}
	equal(t, "messages", h.box(roomy, "INBOX").Messages, 2)
	equal(t, "bodies", h.bodies(), 1)
	h.audit()
}

func TestDeliveryFallsBackToInbox(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	work := h.do(a, mail.Create{Name: "Work"}).Mailbox
	recipient := func(r Recipient) string {
		t.Helper()
		r.Account, r.Number = a, uint32(len(h.log))
		out := h.apply(h.build.Deliver(Delivery{Body: h.body("x"), Recipients: []Recipient{r}})).Recipients[0]
		m, err := h.view(a).Mailbox(out.Result.Mailbox)
		if err != nil {
			t.Fatal(err)
		}
		return m.Name
	}
	equal(t, "by id", recipient(Recipient{Mailbox: work}), "Work")
	equal(t, "by use", recipient(Recipient{Use: mail.UseJunk}), "Junk")
	h.do(a, mail.Delete{Name: "Work"})
	h.do(a, mail.Delete{Name: "Junk"})
	equal(t, "by id, gone", recipient(Recipient{Mailbox: work}), "INBOX")
	equal(t, "by use, gone", recipient(Recipient{Use: mail.UseJunk}), "INBOX")
	equal(t, "neither", recipient(Recipient{}), "INBOX")
}

func TestDeliveryDropsKeywordsThatDoNotFit(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	var words []string
	for i := range mail.MaxKeywords - 1 {
		words = append(words, "k"+string(rune('A'+i%26))+string(rune('A'+i/26)))
	}
	h.do(a, mail.Append{Mailbox: h.box(a, "INBOX").ID, Messages: []mail.NewMessage{{Body: h.body("x"), Keywords: words}}})
	out := h.apply(h.build.Deliver(Delivery{Body: h.body("x"), Recipients: []Recipient{
		{Account: a, Keywords: []string{"fits", "does-not", words[3]}},
	}})).Recipients[0]
	equal(t, "code", out.Code, Done)
	for f, err := range h.view(a).Flags(out.Result.Mailbox, 2, 2, 0) {
		if err != nil || !f.Keywords.Has(127) || !f.Keywords.Has(3) {
			t.Errorf("keywords %x, %v", f.Keywords, err)
		}
	}
}

func TestFrozenAccountRefusesAndRemembersNothing(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.apply(h.build.Freeze(mail.Actor{User: "op"}, a, true, "bad operation"))
	d := Delivery{Transaction: mail.TransactionID{1}, Body: h.body("x"), Recipients: []Recipient{{Account: a}}}
	equal(t, "delivery", h.apply(h.build.Deliver(d)).Recipients[0].Code, Frozen)
	req := mail.Request{ID: mail.OpID{Session: mail.SessionID{1}, Number: 1}, Op: mail.Create{Name: "x"}}
	equal(t, "create", h.apply(h.build.Propose(a, req)).Code, Frozen)
	info, _ := h.view(a).Account()
	equal(t, "shown", info.Frozen, true)
	h.apply(h.build.Freeze(mail.Actor{User: "op"}, a, false, ""))
	equal(t, "delivery again", h.apply(h.build.Deliver(d)).Recipients[0].Code, Done)
	equal(t, "create again", h.apply(h.build.Propose(a, req)).Code, Done)
}

func TestOneModSeqForAllThatADeliveryDoesInAnAccount(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	before, _ := h.view(a).Account()
	out := h.apply(h.build.Deliver(Delivery{Body: h.body("x"), Recipients: []Recipient{
		{Number: 1, Account: a}, {Number: 2, Account: a, Use: mail.UseJunk}, {Number: 3, Account: a},
	}}))
	for _, r := range out.Recipients {
		equal(t, "MODSEQ", r.Result.ModSeq, before.ModSeq+1)
	}
	after, _ := h.view(a).Account()
	equal(t, "account", after.ModSeq, before.ModSeq+1)
	equal(t, "changed mailboxes", len(out.Changed[0].Mailboxes), 2)
}

func TestLargeBodyKeepsItsChunks(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	st := h.body(string(make([]byte, 2_500_000)))
	if list := Ahead(st, h.body("small")); len(list) != 1 || list[0] != st {
		t.Fatalf("ahead: %v", list)
	}
	st.Place([]Placed{{100, 1 << 20}, {2_000_000, 1 << 20}, {4_000_000, 2_500_000 - 2<<20}})
	h.apply(h.build.Deliver(Delivery{Body: st, Recipients: []Recipient{{Account: a}}}))
	loc, ok, err := ReadLocation(h.kv, 100)
	if !ok || err != nil || len(loc.Chunks) != 3 || loc.Chunks[1].LSN != cluster.LSN(2_000_000) {
		t.Errorf("location %+v, %v, %v", loc, ok, err)
	}
	rec, ok, err := ReadBody(h.kv, 100)
	if !ok || err != nil || rec.Length != 2_500_000 || rec.SHA256 != st.SHA256() || rec.References != 1 {
		t.Errorf("body %+v, %v, %v", rec, ok, err)
	}
}
