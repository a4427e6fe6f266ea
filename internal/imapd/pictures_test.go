package imapd

import (
	"runtime"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
)

// TestSessionsOfOneMailboxShareItsPicture holds that the UIDs of a mailbox are in memory
// once, that what one session was told is not another's, and that nothing is kept for nobody.
func TestSessionsOfOneMailboxShareItsPicture(t *testing.T) {
	a := newAccount(t)
	first, second := newDirect(t, a, 1), newDirect(t, a, 2)
	pictures := NewPictures()
	first.cfg.Pictures, second.cfg.Pictures = pictures, pictures
	first.fill(4 * leastShared)
	first.ok("SELECT INBOX")
	alike := func() bool { return &first.box.uids.runs[0] == &second.box.uids.runs[0] }
	second.ok("SELECT INBOX")
	if first.box.uids.common != nil || alike() {
		t.Error("a picture of one run is shared")
	}
	for i := 1; i <= 4*leastShared; i += 2 {
		first.ok("STORE %d +FLAGS.SILENT (\\Deleted)", i)
	}
	first.ok("EXPUNGE")
	if first.box.uids.common == nil || alike() {
		t.Error("what only one session was told is shared")
	}
	if out := second.ok("FETCH 2 (UID)"); out == "" || second.box.uids.len() != 4*leastShared {
		t.Errorf("the second session has %d messages", second.box.uids.len())
	}
	second.ok("NOOP")
	if !alike() || second.box.uids.len() != 2*leastShared {
		t.Errorf("what both were told is not shared; there are %d messages", second.box.uids.len())
	}
	first.fill(1)
	first.ok("NOOP")
	if alike() || second.box.uids.len() != 2*leastShared || first.box.uids.len() != 2*leastShared+1 {
		t.Errorf("after an arrival they have %d and %d messages", first.box.uids.len(), second.box.uids.len())
	}
	second.ok("NOOP")
	third := newDirect(t, a, 3)
	third.cfg.Pictures = pictures
	third.ok("EXAMINE INBOX")
	if !alike() || &third.box.uids.runs[0] != &first.box.uids.runs[0] {
		t.Error("who comes later has a picture of its own")
	}
	first.ok("UNSELECT")
	second.ok("UNSELECT")
	third.ok("UNSELECT")
	for range 1000 { // until the cleanup has run
		runtime.GC()
		pictures.mu.Lock()
		n := len(pictures.last)
		pictures.mu.Unlock()
		if n == 0 {
			return
		}
		runtime.Gosched()
	}
	t.Error("pictures that nobody has are remembered")
}

// TestAPictureOfAMillionMessagesIsSmall: with a gap behind each third message.
func TestAPictureOfAMillionMessagesIsSmall(t *testing.T) {
	var one, other uidMap
	for u := mail.UID(1); one.len() < 1_000_000; u++ {
		if u%4 != 0 {
			one.add(u)
			other.add(u)
		}
	}
	p := NewPictures()
	var id mail.MailboxID
	p.share(id, &one)
	p.share(id, &other)
	if octets := 12 * cap(one.runs); octets > 5<<20 || &one.runs[0] != &other.runs[0] {
		t.Errorf("1,000,000 messages take %d octets, shared: %v", octets, &one.runs[0] == &other.runs[0])
	}
	other.remove(mail.UIDSet{{Lo: 5, Hi: 5}})
	if one.number(6) != 5 || other.number(6) != 4 {
		t.Errorf("after one removed a message they say %d and %d", one.number(6), other.number(6))
	}
}
