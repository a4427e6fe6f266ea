package imapd

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/mail"
)

// TestOwnChangesInAnothersAccountAreNotTold, but others' beside them.
func TestOwnChangesInAnothersAccountAreNotTold(t *testing.T) {
	follow(t, "lrswitek", func(f *following) {
		f.bob.ok(`NOTIFY SET (mailboxes ` + anns + ` (MessageNew MessageExpunge FlagChange MailboxName))`)
		f.bob.ok("APPEND " + anns + " {1+}\r\nx")
		f.bob.ok("SELECT " + anns)
		f.bob.ok(`STORE 1 +FLAGS (\Flagged)`)
		f.bob.ok("UNSELECT")
		f.told("one's own", "")
		f.bob.ok("APPEND " + anns + " {1+}\r\nx")
		f.ann.fill(1)
		f.told("ann's", "* STATUS "+anns+" (MESSAGES 4 ")
	})
}

// TestStrangersMailboxesAreNobodysBusiness: following who has granted nothing tells nothing.
func TestStrangersMailboxesAreNobodysBusiness(t *testing.T) {
	follow(t, `""`, func(f *following) {
		out := f.bob.ok(`NOTIFY SET STATUS (subtree "Other Users/ann" (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)) (mailboxes ` + anns + ` (MessageNew MessageExpunge FlagChange))`)
		if strings.Contains(out, "ann") {
			f.t.Errorf("got %s", out)
		}
		f.ann.fill(1)
		f.ann.ok("CREATE secret")
		f.ann.ok("RENAME secret secrets")
		f.ann.ok("SUBSCRIBE secrets")
		f.ann.ok(`SETMETADATA secrets (/shared/comment "x")`)
		f.ann.ok(`SETMETADATA "" (/shared/comment "x")`)
		f.ann.ok("SETACL secrets info lr")
		f.ann.ok("DELETE secrets")
		f.told("of a stranger", "")
	})
}

// TestPersonalMailboxesAreNotOthers, also where something else is asked of these.
func TestPersonalMailboxesAreNotOthers(t *testing.T) {
	follow(t, "lr", func(f *following) {
		f.bob.ok(`NOTIFY SET STATUS (personal (MessageNew MessageExpunge)) (mailboxes %s (MailboxName))`, anns)
		f.ann.fill(1)
		f.told("a message", "")
		f.ann.ok("DELETEACL INBOX bob")
		f.told("a right", `* LIST (\NoAccess) "/" `+anns)
	})
}

// TestWithdrawnGrantIsToldBeforeNobodyFollowsIt, though that is found out first.
func TestWithdrawnGrantIsToldBeforeNobodyFollowsIt(t *testing.T) {
	follow(t, "lr", func(f *following) {
		f.bob.ok(`NOTIFY SET (subtree "Other Users" (MessageNew MessageExpunge MailboxName))`)
		other := newDirect(f.t, f.users.Server.Account(everybody["bob"]), 3)
		other.cfg.Others = f.others
		f.ann.fill(1)
		f.quiet(lookPause / 10)
		f.ann.ok("DELETEACL INBOX bob")
		f.quiet(lookPause / 10)
		other.ok("SUBSCRIBE Shared/info/INBOX") // has it looked for whom to follow
		f.told("withdrawn", `* LIST (\NoAccess) "/" `+anns)
	})
}

// TestMailboxFromBeforeItsNameWasForOthersIsToldOfAsOnesOwn.
func TestMailboxFromBeforeItsNameWasForOthersIsToldOfAsOnesOwn(t *testing.T) {
	follow(t, "lr", func(f *following) {
		f.ann.ok("CREATE Other")
		f.ann.ok("SETACL Other bob lr")
		f.bob.keeping("Other Users/ann/INBOX")
		other := newDirect(f.t, f.users.Server.Account(everybody["bob"]), 3)
		out := f.bob.ok(`NOTIFY SET STATUS (subtree "Other Users/ann" (MessageNew MessageExpunge MailboxName))`)
		if strings.Count(out, "* STATUS "+anns+" (MESSAGES 0 ") != 1 || strings.Count(out, anns) != 1 || !strings.Contains(out, `* STATUS "Other Users/ann/Other" (`) {
			f.t.Errorf("got %s", out)
		}
		f.ann.fill(1)
		f.ann.ok("APPEND Other {1+}\r\nx")
		f.told("ann's", `* STATUS "Other Users/ann/Other" (MESSAGES 1 `)
		other.ok("APPEND %s {1+}\r\nx", anns)
		f.told("one's own", "* STATUS "+anns+" (MESSAGES 1 ")
	})
}

// TestOnesOwnNameAmongOthersIsNobodys, as in any command.
func TestOnesOwnNameAmongOthersIsNobodys(t *testing.T) {
	follow(t, "lr", func(f *following) {
		f.bob.ok(`NOTIFY SET STATUS (mailboxes ("Other Users/bob/INBOX" %s) (MessageNew MessageExpunge))`, anns)
		f.bob.fill(1)
		f.told("nothing", "")
		f.ann.fill(1)
		f.told("ann's", "* STATUS "+anns+" (MESSAGES 2 ")
	})
}

// TestSubscriptionIsToldOfWhenItsOwnerAnswers, with what the mailbox is.
func TestSubscriptionIsToldOfWhenItsOwnerAnswers(t *testing.T) {
	follow(t, "lr", func(f *following) {
		f.bob.ok(`NOTIFY SET (mailboxes %s (SubscriptionChange))`, anns)
		other := newDirect(f.t, f.users.Server.Account(everybody["bob"]), 3)
		f.bob.follower.mu.Lock()
		w := f.bob.follower.of[everybody["ann"]]
		f.bob.follower.mu.Unlock()
		synctest.Wait()
		account := w.account
		w.account = &failing{Account: account, view: mail.ErrBusy}
		other.ok("SUBSCRIBE " + anns)
		f.told("meanwhile", "")
		if got := f.quiet(retryPause); !matchesLines(`* LIST (\HasNoChildren \Subscribed) "/" `+anns, got) {
			f.t.Errorf("told %q", got)
		}
	})
}
