package app

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
)

// aclRig is a rig with ann and bob, whose master answers what it is told to.
func aclRig(t *testing.T, answers map[string]string) (*rig, *[]string) {
	r := newRig(t)
	r.put(coord.StoreKey("s01"), s01().Encode())
	r.run()
	for i, name := range []string{"ann@example.org", "bob@example.org"} {
		if _, err := r.users.Add(t.Context(), directory.User{Name: name, Store: "s01", Account: mail.AccountID{byte(i + 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	var asked []string
	r.remote.Call = func(_ context.Context, _ cluster.Machine, req []byte) ([]byte, error) {
		var q struct{ Method string }
		if err := json.Unmarshal(req, &q); err != nil {
			return nil, err
		}
		asked = append(asked, string(req))
		return []byte(answers[q.Method]), nil
	}
	return r, &asked
}

func TestRequestsForRightsThatMeanNothingAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, asked := aclRig(t, nil)
		for _, tc := range []struct {
			address string
			req     api.ACLRequest
			status  int
			message string
		}{
			{"ann@example.org", api.ACLRequest{Mailbox: "INBOX", Rights: "lr"}, http.StatusBadRequest, "whose rights shall change is not said"},
			{"ann@example.org", api.ACLRequest{Mailbox: "INBOX", Delete: true}, http.StatusBadRequest, "whose rights shall change is not said"},
			{"ann@example.org", api.ACLRequest{Identifier: "anyone", Rights: "lr"}, http.StatusBadRequest, "rights are of one mailbox: name it"},
			{"ann@example.org", api.ACLRequest{Mailbox: "INBOX", Identifier: "anyone", Rights: "lr", Delete: true}, http.StatusBadRequest, "rights are changed or removed, not both"},
			{"ann@example.org", api.ACLRequest{Mailbox: "INBOX", Identifier: "anyone", Rights: "+-i"}, http.StatusBadRequest, `"+-i" are no rights`},
			{"ann@example.org", api.ACLRequest{Mailbox: "INBOX", Identifier: "anyone", Rights: "q"}, http.StatusBadRequest, `"q" are no rights`},
			{"ann@example.org", api.ACLRequest{Mailbox: "INBOX", Identifier: "eve@example.org", Rights: "l"}, http.StatusNotFound, "there is no user eve@example.org"},
			{"eve@example.org", api.ACLRequest{}, http.StatusNotFound, "there is no user eve@example.org"},
		} {
			_, err := r.ACL(t.Context(), tc.address, tc.req)
			wantError(t, err, tc.status, tc.message)
		}
		if len(*asked) != 0 {
			t.Errorf("the master was asked %v", *asked)
		}
	})
}

// TestWhoIsGrantedSomethingIsNotedBeforeIt, and not any more when nothing is left.
func TestWhoIsGrantedSomethingIsNotedBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := map[string]string{
			"set-acl": `{}`, "granted": `{"granted":true}`,
			"acls": `{"acls":[{"mailbox":"INBOX","grants":[{"user":"01000000000000000000000000000000","rights":2047},
				{"user":"00000000000000000000000000000000","rights":1},{"user":"09000000000000000000000000000000","rights":3}]}],"more":true}`,
		}
		r, asked := aclRig(t, answers)
		called := r.remote.Call
		r.remote.Call = func(ctx context.Context, m cluster.Machine, req []byte) ([]byte, error) {
			if strings.Contains(string(req), "set-acl") && len(r.users.Owners(mail.AccountID{2})) != 1 {
				t.Error("it is granted before it is noted")
			}
			return called(ctx, m, req)
		}
		got, err := r.ACL(t.Context(), "Ann@example.org", api.ACLRequest{Mailbox: "INBOX", Identifier: "bob@example.org", Rights: "+i", By: "op"})
		if err != nil {
			t.Fatal(err)
		}
		want := []api.ACLEntry{{Identifier: "ann@example.org", Rights: "lrswipkxtea"}, {Identifier: "anyone", Rights: "l"}, {Identifier: mail.AccountID{9}.String(), Rights: "lr"}}
		if got.Address != "ann@example.org" || !got.More || len(got.Mailboxes) != 1 || !slices.Equal(got.Mailboxes[0].ACL, want) {
			t.Errorf("got %+v", got)
		}
		if set := (*asked)[0]; !strings.Contains(set, `"by":"op"`) || !strings.Contains(set, `"mailbox":"INBOX","user":"02000000000000000000000000000000","mode":1,"rights":16`) {
			t.Errorf("the master was asked %s", set)
		}
		if len(r.users.Owners(mail.AccountID{2})) != 1 {
			t.Error("that bob has been granted something is not noted")
		}
		answers["granted"] = `{}`
		if _, err := r.ACL(t.Context(), "ann@example.org", api.ACLRequest{Mailbox: "INBOX", Identifier: "bob@example.org", Delete: true}); err != nil {
			t.Fatal(err)
		}
		if len(r.users.Owners(mail.AccountID{2})) != 0 {
			t.Error("bob is noted although nothing is left")
		}
		answers["set-acl"] = `{"error":"none","code":"no_mailbox"}`
		_, err = r.ACL(t.Context(), "ann@example.org", api.ACLRequest{Mailbox: "x", Identifier: "bob@example.org", Rights: "l"})
		wantError(t, err, http.StatusNotFound, "there is no such mailbox")
		if len(r.users.Owners(mail.AccountID{2})) != 0 {
			t.Error("bob is noted although nothing was granted")
		}
	})
}

func TestSharedAccountNeedsNoPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := aclRig(t, map[string]string{"create-account": `{}`})
		got, err := r.AddUser(t.Context(), api.NewUser{Address: "info@example.org", Shared: true})
		if err != nil || !got.Shared {
			t.Fatalf("got %+v, %v", got, err)
		}
		u, err := r.users.Lookup(t.Context(), "info@example.org")
		if err != nil || !u.Shared || u.Credential != "" || u.Verifier != "" {
			t.Errorf("got %+v, %v", u, err)
		}
		shows := func(want bool) {
			t.Helper()
			if _, shared, err := (others{users: r.users}).Name(t.Context(), u.Account); err != nil || shared != want {
				t.Errorf("sessions see it shared: %v, %v", shared, err)
			}
		}
		shows(true)
		off := false
		if got, err := r.ChangeUser(t.Context(), "Info@example.org", api.UserChange{Shared: &off, By: "op"}); err != nil || got.Shared {
			t.Errorf("got %+v, %v", got, err)
		}
		shows(false)
		_, err = r.ChangeUser(t.Context(), "info@example.org", api.UserChange{})
		wantError(t, err, http.StatusBadRequest, "the request does not say what to change")
		_, err = r.ChangeUser(t.Context(), "eve@example.org", api.UserChange{Shared: &off})
		wantError(t, err, http.StatusNotFound, "there is no user eve@example.org")
	})
}
