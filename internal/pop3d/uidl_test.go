package pop3d

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
)

// uidls are what UIDL lists, in order.
func (u *user) uidls(number int) (ids []string) {
	u.t.Helper()
	u.execute(number, []byte("UIDL"))
	lines := strings.Split(strings.TrimSuffix(string(u.said), "\r\n.\r\n"), "\r\n")
	for _, l := range lines[1:] {
		_, id, _ := strings.Cut(l, " ")
		ids = append(ids, id)
	}
	return ids
}

func TestImportedIDsAreShownEachOnce(t *testing.T) {
	a := maildropOf(t)
	inbox := inboxOf(t, a)
	made := func(uid mail.UID) string { return fmt.Sprintf("%d.%d", inbox.UIDValidity, uid) }
	add := mail.Append{Mailbox: inbox.ID}
	for _, id := range []string{"", "!0000abcd", "b", "b", made(1), made(7), "0.7"} {
		b, err := a.Stage(t.Context(), bytes.NewReader(nil), mail.MaxMessageSize)
		if err != nil {
			t.Fatal(err)
		}
		add.Messages = append(add.Messages, mail.NewMessage{Body: b, UIDL: id})
	}
	number := uint64(0)
	do := func(op mail.Op) {
		t.Helper()
		number++
		if _, err := a.Do(t.Context(), mail.Request{ID: mail.OpID{Session: mail.SessionID{9}, Number: number}, Op: op}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(u *user, command int, want ...string) {
		t.Helper()
		if got := u.uidls(command); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	do(add)
	ids := []string{made(1), "!0000abcd", "b", made(4), made(5), made(6), "0.7"}
	u := &user{t: t, account: a}
	u.begin(true)
	expect(u, 1, ids...)
	if first := u.execute(2, []byte("uidl 2")); first != "+OK 2 !0000abcd" {
		t.Error(first)
	}
	u.begin(false) // another master
	expect(u, 3, ids...)
	u.s.Close()

	// A message that goes and comes back is another one to IMAP, not to POP3.
	archive := mailboxOf(t, a, "Archive").ID
	do(mail.Move{From: inbox.ID, UIDs: mail.NewUIDSet(mail.UIDRange{Lo: 2, Hi: 2}), To: archive})
	do(mail.Move{From: archive, UIDs: mail.NewUIDSet(mail.UIDRange{Lo: 1, Hi: 1}), To: inbox.ID})
	do(mail.Copy{From: inbox.ID, UIDs: mail.NewUIDSet(mail.UIDRange{Lo: 8, Hi: 8}), To: inbox.ID})
	u = &user{t: t, account: a}
	u.begin(true)
	expect(u, 1, made(1), "b", made(4), made(5), made(6), "0.7", "!0000abcd", made(9))
}
