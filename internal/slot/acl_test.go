package slot

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/mail"
)

func TestRightsAreListedAndSetAsTheOwnerCould(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newDatedWorld(t, 1)
		n := w.lead(0)
		if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
			t.Fatal(err)
		}
		bob := mail.AccountID{77}
		set := func(number uint64, c ACLChange, want error) {
			t.Helper()
			if c.Session == "" {
				c.Session = asked
			}
			c.Number = number
			if err := n.SetACL(t.Context(), accountText, "op", c); !errors.Is(err, want) {
				t.Errorf("set %+v: %v", c, err)
			}
		}
		lists := func(mailbox, want string) {
			t.Helper()
			list, more, err := n.ACLs(t.Context(), accountText, mailbox)
			got := ""
			for _, a := range list {
				got += a.Mailbox
				for _, g := range a.Grants {
					got += fmt.Sprintf(" %d:%v", g.User[0], g.Rights)
				}
				got += "; "
			}
			if err != nil || more || got != want {
				t.Errorf("of %q: got %s, %v, %v, want %s", mailbox, got, more, err, want)
			}
		}
		all := fmt.Sprintf(" %d:%v", accountID[0], mail.AllRights)
		lists("", "")
		lists("inbox", "INBOX"+all+"; ")
		set(1, ACLChange{Mailbox: "inbox", User: bob, Rights: mail.MayLookup | mail.MayRead}, nil)
		set(2, ACLChange{Mailbox: "Sent", Rights: mail.MayLookup}, nil)
		set(3, ACLChange{Mailbox: "INBOX", User: bob, Mode: mail.AddRights, Rights: mail.MayInsert}, nil)
		lists("", "INBOX"+all+" 77:lri; Sent"+all+" 0:l; ")
		set(4, ACLChange{Mailbox: "INBOX", User: bob, Mode: mail.RemoveRights, Rights: mail.MayRead}, nil)
		set(4, ACLChange{Mailbox: "INBOX", User: bob, Mode: mail.DeleteGrant}, nil) // the first answer again
		inbox, _ := inboxOf(t, n)
		lists(inbox.String(), "INBOX"+all+" 77:li; ")
		set(5, ACLChange{Mailbox: inbox.String(), User: accountID}, nil)
		lists("INBOX", fmt.Sprintf("INBOX %d:la 77:li; ", accountID[0]))
		for user, want := range map[mail.AccountID]bool{bob: true, {}: true, {78}: false} {
			if got, err := n.Granted(t.Context(), accountText, user); err != nil || got != want {
				t.Errorf("granted to %v: %v, %v", user, got, err)
			}
		}
		set(6, ACLChange{Mailbox: "INBOX", User: bob, Mode: mail.DeleteGrant}, nil)
		if got, err := n.Granted(t.Context(), accountText, bob); err != nil || got {
			t.Errorf("granted to nobody any more: %v, %v", got, err)
		}
		h, err := n.History(t.Context(), accountText, HistoryQuery{Limit: 100})
		if err != nil || len(h.Deeds) == 0 || h.Deeds[len(h.Deeds)-1].By.By != "op" || h.Deeds[len(h.Deeds)-1].By.Command != "user acl" {
			t.Errorf("history %+v, %v", h, err)
		}
		set(7, ACLChange{Mailbox: "nowhere", User: bob}, mail.ErrNoMailbox)
		set(8, ACLChange{Mailbox: mail.MailboxID{9}.String(), User: bob}, mail.ErrNoMailbox)
		if err := n.SetACL(t.Context(), accountText, "op", ACLChange{Session: "05", Mailbox: "INBOX"}); err == nil {
			t.Error("a short session id was taken")
		}
		if _, _, err := n.ACLs(t.Context(), accountText, "nowhere"); !errors.Is(err, mail.ErrNoMailbox) {
			t.Errorf("of no mailbox: %v", err)
		}
		if _, _, err := n.ACLs(t.Context(), mail.AccountID{99}.String(), ""); !errors.Is(err, mail.ErrNoAccount) {
			t.Errorf("of no account: %v", err)
		}
	})
}
