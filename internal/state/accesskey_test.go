package state

import (
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
)

// TestForkRevokesAccessKeys: that a key was removed may be among what is lost.
func TestForkRevokesAccessKeys(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	v := h.view(a)
	inbox, err := v.Lookup(mail.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	h.do(a, mail.SetAccess{Mailbox: inbox.ID})
	before := h.kv.Snapshot()
	h.do(a, mail.SetAccess{Drop: true})
	h.kv = before
	h.apply(h.build.Fork(mail.Actor{}, 1))
	for _, touched := range []string{"not yet", "yes"} {
		if k, err := h.view(a).AccessKey(inbox.ID); k != nil || err != nil {
			t.Errorf("touched: %s: key %x, %v", touched, k, err)
		}
		h.do(a, mail.Create{Name: touched})
	}
	h.audit()
}

func TestAccessKeysAreBounded(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	box := func(i int) mail.MailboxID { return mail.MailboxID{0xee, byte(i >> 8), byte(i)} }
	for i := range mail.MaxAccessKeys {
		h.do(a, mail.SetAccess{Mailbox: box(i)})
	}
	h.audit()
	one := box(mail.MaxAccessKeys)
	if out := h.try(a, mail.SetAccess{Mailbox: one}); out.Code != Limit {
		t.Errorf("one more: %v", out.Code.Err())
	}
	h.do(a, mail.SetAccess{Mailbox: box(0)})
	h.do(a, mail.SetAccess{Mailbox: box(0), Drop: true})
	h.do(a, mail.SetAccess{Mailbox: one})
	h.do(a, mail.SetAccess{Drop: true})
	if k, err := h.view(a).AccessKey(one); k != nil || err != nil {
		t.Errorf("key %x, %v", k, err)
	}
}
