package app

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

func box(b byte) mail.MailboxID { return mail.MailboxID{b} }

func TestPlanOfAnUndeleteSaysWhatComesBackWhere(t *testing.T) {
	deleted := func() slot.Deleted {
		return slot.Deleted{
			Taken: map[string]mail.MailboxID{"INBOX": box(1), "Junk": box(2), "Junk (undeleted)": box(3)},
			Mailboxes: []slot.DeletedMailbox{
				{ID: box(1), Name: "INBOX", Expunged: 6000, ExpungedOctets: 60, UIDs: mail.UIDSet{{Lo: 1, Hi: 4000}, {Lo: 5000, Hi: 6999}}},
				{ID: box(4), Name: "Junk", Hidden: true, Wanted: true, Messages: 5, Octets: 50, Expunged: 1, UIDs: mail.UIDSet{{Lo: 9, Hi: 9}}},
				{ID: box(5), Name: "Junk", Hidden: true, Expunged: 1, UIDs: mail.UIDSet{{Lo: 3, Hi: 3}}},
				{ID: box(6), Name: "gone", Hidden: true, Expunged: 2, UIDs: mail.UIDSet{{Lo: 1, Hi: 2}}},
			},
			Messages: []slot.DeletedMessage{{MailboxID: box(1), Mailbox: "INBOX", UID: 1}, {MailboxID: box(6), Mailbox: "gone", UID: 2}},
		}
	}
	steps := func(p *undeletePlan) (list []string) {
		for _, s := range p.steps {
			list = append(list, fmt.Sprintf("%d:%d %q %v>%d", s.Mailbox[0], s.UIDs.Len(), s.Name, s.UIDs, s.To[0]))
		}
		return list
	}
	for _, tc := range []struct {
		to       string
		left     int
		expunged int64
		want     string
	}{
		{"", 1, 6002, `4:0 "Junk (undeleted 2)" >0; 1:5000 "" 1:4000,5000:5999>1; 1:1000 "" 6000:6999>1; 4:1 "" 9>4; 5:1 "" 3>2`},
		{"inbox", 0, 6004, `4:0 "Junk (undeleted 2)" >0; 1:5000 "" 1:4000,5000:5999>1; 1:1000 "" 6000:6999>1; 4:1 "" 9>1; 5:1 "" 3>1; 6:2 "" 1:2>1`},
	} {
		p, err := planUndelete(deleted(), api.UndeleteRequest{To: tc.to})
		if err != nil || len(p.report.Left) != tc.left || p.report.Expunged != tc.expunged || p.report.Octets != 110 {
			t.Errorf("to %q: %+v, %v", tc.to, p.report, err)
		}
		if got := strings.Join(steps(p), "; "); got != tc.want {
			t.Errorf("to %q: steps\n%s\nwant\n%s", tc.to, got, tc.want)
		}
		if m := p.report.Messages; m[0].To != "INBOX" || (m[1].To == "") != (tc.to == "") {
			t.Errorf("to %q: messages go to %q and %q", tc.to, m[0].To, m[1].To)
		}
	}
	_, err := planUndelete(deleted(), api.UndeleteRequest{To: "nowhere"})
	wantError(t, err, http.StatusNotFound, `there is no mailbox "nowhere" for the messages to go to`)
	full := deleted()
	full.Quota = mail.Quota{LimitMessages: 6000, UsedMessages: 1}
	_, err = planUndelete(full, api.UndeleteRequest{})
	wantError(t, err, http.StatusConflict, "that is more than the user's quota allows, by 8 messages")
	full.Taken = deleted().Taken
	if p, err := planUndelete(full, api.UndeleteRequest{Force: true}); err != nil || !p.steps[0].Force {
		t.Errorf("forced: %v", err)
	}
	p, err := planUndelete(deleted(), api.UndeleteRequest{})
	if err != nil {
		t.Fatal(err)
	}
	p.came(box(1), slot.Undeleted{Source: mail.UIDSet{{Lo: 1, Hi: 2}}, UIDs: mail.UIDSet{{Lo: 71, Hi: 72}}})
	p.came(box(2), slot.Undeleted{Source: mail.UIDSet{{Lo: 2, Hi: 2}}, UIDs: mail.UIDSet{{Lo: 8, Hi: 8}}})
	if m := p.report.Messages; m[0].NewUID != 71 || m[1].NewUID != 0 {
		t.Errorf("new UIDs %d, %d", m[0].NewUID, m[1].NewUID)
	}
}

func TestSetsOfUIDsAreReadAndRefused(t *testing.T) {
	for s, want := range map[string]string{"": "", "7": "7", "1:4,7": "1:4,7", "7,1:4,5": "1:5,7"} {
		if got, err := parseUIDs(s); err != nil || got.String() != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"0", "4:1", "x", "1:", "*", "1,,2", "4294967296"} {
		if got, err := parseUIDs(s); err == nil {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}

func TestRetentionIsASettingWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		if got, err := r.Retention(t.Context()); err != nil || got != (api.Retention{Hours: 336, Default: true}) {
			t.Errorf("at first: %+v, %v", got, err)
		}
		for _, hours := range []float64{0, -1, 0.5, 400*24 + 1} {
			_, err := r.SetRetention(t.Context(), api.Retention{Hours: hours})
			wantError(t, err, http.StatusBadRequest, "what was deleted is kept from 1h0m0s to 9600h0m0s")
		}
		if _, err := r.SetRetention(t.Context(), api.Retention{Hours: 48, By: "o"}); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Retention(t.Context()); err != nil || got != (api.Retention{Hours: 48}) {
			t.Errorf("set: %+v, %v", got, err)
		}
		kvs, _, err := r.mem.List(t.Context(), coord.HistoryPrefix)
		if err != nil || len(kvs) != 1 {
			t.Fatalf("history %v, %v", kvs, err)
		}
	})
}

func TestDeletedUserIsKnownUntilForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(coord.StoreKey("s01"), s01().Encode())
		r.run()
		ann := directory.User{Name: "ann@example.org", Store: "s01", Account: mail.AccountID{1}, Credential: "secret"}
		ann, err := r.users.Add(t.Context(), ann)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.users.Delete(t.Context(), "Ann@example.org", "o", time.Now()); err != nil {
			t.Fatal(err)
		}
		list, err := r.DeletedUsers(t.Context())
		if err != nil || len(list) != 1 || list[0].Address != ann.Name || list[0].By != "o" || !list[0].Until.Equal(list[0].At.Add(coord.DefaultRetention)) {
			t.Errorf("listed as %+v, %v", list, err)
		}
		for _, name := range []string{"ANN@example.org", ann.Account.String()} {
			if u, deleted, err := r.anyUser(t.Context(), name); err != nil || !deleted || u != ann {
				t.Errorf("%s: %+v, %v, %v", name, u, deleted, err)
			}
		}
		_, err = r.Undelete(t.Context(), ann.Name, api.UndeleteRequest{})
		wantError(t, err, http.StatusConflict, "ann@example.org is deleted")
		bob := ann
		bob.Account = mail.AccountID{2}
		if _, err := r.users.Add(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		if err := r.users.Undelete(t.Context(), ann); !errors.Is(err, directory.ErrExists) {
			t.Errorf("undelete of a name that was given away: %v", err)
		}
		if err := r.users.Delete(t.Context(), ann.Name, "o", time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if u, err := r.users.FindDeleted(t.Context(), ann.Name); err != nil || u.User != bob {
			t.Errorf("of two the latest: %+v, %v", u, err)
		}
		if err := r.users.Undelete(t.Context(), ann); err != nil {
			t.Fatal(err)
		}
		if u, err := r.users.Lookup(t.Context(), ann.Name); err != nil || u != ann {
			t.Errorf("came back as %+v, %v", u, err)
		}
		if err := r.users.Forget(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		if list, err := r.DeletedUsers(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("left: %+v, %v", list, err)
		}
	})
}
