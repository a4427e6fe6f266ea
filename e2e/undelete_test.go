package e2e

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/bench"
)

// TestDeletedMailComesBackAndIsPurged deletes a message by IMAP, asks who did it, and
// brings it back; then the whole user; and purges what is deleted in the end.
func TestDeletedMailComesBackAndIsPurged(t *testing.T) {
	needDev(t)
	c := wholeDev(t)
	u := c.Users[0]
	_, front, err := c.frontFor(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	sent := []byte("Message-ID: <undelete@example.test>\r\nSubject: come back\r\n\r\nbody\r\n")
	deliverTo(t, front, u, sent)
	s, uid := selectLast(t, front, u)
	flags := []imap.Flag{imap.FlagSeen, imap.FlagFlagged, "important"}
	change := func(add ...imap.Flag) {
		t.Helper()
		if err := s.Store(imap.UIDSetNum(uid), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: add, Silent: true}, nil).Close(); err != nil {
			t.Fatal(err)
		}
	}
	change(flags...)
	before := mailOf(t, front, u)["INBOX"][uint32(uid)]
	change(imap.FlagDeleted)
	if err := s.UIDExpunge(imap.UIDSetNum(uid)).Close(); err != nil {
		t.Fatal(err)
	}
	remote := s.conn.LocalAddr().String()
	s.Close()

	var h api.UserHistory
	c.answer(t, &h, "user", "history", u.User, "--message-id", "<undelete@example.test>")
	if len(h.Deeds) != 2 || h.Deeds[1].Kind != "expunge" || len(h.Places) != 1 || h.Places[0].Expunged.IsZero() {
		t.Fatalf("history: %+v", h)
	}
	host, _, err := net.SplitHostPort(remote)
	if by := h.Deeds[1].By; err != nil || !strings.Contains(by.Remote, host) || !strings.Contains(by.Command, "EXPUNGE") || by.User != u.User || by.Session == "" {
		t.Errorf("expunged by %+v, from %s", by, remote)
	}

	var plan, done api.UndeleteReport
	args := []string{"user", "undelete", u.User, "--mailbox", "INBOX", "--since", "1h"}
	c.answer(t, &plan, append(args, "--dry-run")...)
	if plan.Done || plan.Expunged != 1 || plan.Messages[0].Subject != "come back" || plan.Messages[0].UID != h.Places[0].UID {
		t.Fatalf("plan: %+v", plan)
	}
	c.answer(t, &done, append(args, "--yes")...)
	back := uint32(done.Messages[0].NewUID)
	if !done.Done || back <= uint32(uid) {
		t.Fatalf("done: %+v", done)
	}
	if got := mailOf(t, front, u)["INBOX"][back]; got != before {
		t.Errorf("came back as\n%s\nwas\n%s", got, before)
	}
	if err := c.compareCopies(t.Context(), settleTime); err != nil {
		t.Error(err)
	}

	all := mailOf(t, front, u)
	if _, err := c.run(t.Context(), "user", "delete", u.User); err != nil {
		t.Fatal(err)
	}
	if s, err := login(t.Context(), front.IMAP, u); err == nil {
		s.Close()
		t.Error("a deleted user logs in")
	}
	var gone []api.DeletedUser
	c.answer(t, &gone, "user", "list", "--deleted")
	if len(gone) != 1 || gone[0].Address != u.User {
		t.Fatalf("deleted users: %+v", gone)
	}
	c.answer(t, &done, "user", "undelete", u.User, "--account", "--yes")
	again := mailOf(t, front, u) // with the old password
	for name := range all {
		if len(again[name]) != len(all[name]) || !slices.Equal(texts(again[name]), texts(all[name])) {
			t.Errorf("mailbox %s is not what it was", name)
		}
	}

	s, uid = selectLast(t, front, u)
	change(imap.FlagDeleted)
	if err := s.UIDExpunge(imap.UIDSetNum(uid)).Close(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	var purged api.PurgeReport
	c.answer(t, &purged, "user", "purge", u.User, "--yes")
	c.answer(t, &plan, "user", "undelete", u.User, "--dry-run")
	if purged.Gone || plan.Expunged != 0 || len(plan.Mailboxes) != 0 {
		t.Errorf("after the purge: %+v", plan)
	}
	if _, err := c.run(t.Context(), "user", "delete", u.User); err != nil {
		t.Fatal(err)
	}
	if c.answer(t, &purged, "user", "purge", u.User, "--yes"); !purged.Gone {
		t.Errorf("purged: %+v", purged)
	}
	if _, err := c.run(t.Context(), "user", "undelete", u.User, "--account", "--yes"); err == nil {
		t.Error("a purged user comes back")
	}
	if err := c.compareCopies(t.Context(), settleTime); err != nil {
		t.Error(err)
	}
}

// answer runs a command and reads what it prints.
func (c *cluster) answer(t *testing.T, into any, args ...string) {
	t.Helper()
	out, err := c.run(t.Context(), args...)
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func deliverTo(t *testing.T, front machine, u user, octets []byte) {
	t.Helper()
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(t.Context(), "tcp", front.LMTP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lmtp, err := bench.NewLMTP(conn, "undelete.invalid")
	if err != nil {
		t.Fatal(err)
	}
	if replies, err := lmtp.Data("", []string{u.User}, octets); err != nil || !replies[0].OK() {
		t.Fatalf("deliver: %v, %v", replies, err)
	}
}

// selectLast opens INBOX and gives the UID of the message that came last.
func selectLast(t *testing.T, front machine, u user) (*session, imap.UID) {
	t.Helper()
	s, err := login(t.Context(), front.IMAP, u)
	if err != nil {
		t.Fatal(err)
	}
	sel, err := s.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	return s, sel.UIDNext - 1
}

// texts are the messages of a mailbox, in the order of their UIDs.
func texts(k kept) (list []string) {
	uids := make([]uint32, 0, len(k))
	for uid := range k {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	for _, uid := range uids {
		list = append(list, k[uid])
	}
	return list
}
