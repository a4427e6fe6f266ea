package app

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
)

// offered are the mechanisms of the rig's machine, once it has heard of all changes.
func (r *rig) offered() string {
	r.t.Helper()
	synctest.Wait()
	return strings.Join(r.auth.Mechanisms(r.auth.Meet(netip.Addr{}, nil, nil)), " ")
}

func TestVerifiersAreMadeWhileSCRAMIsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(coord.StoreKey("s01"), s01().Encode())
		r.run()
		a, err := auth.New(auth.Config{Users: r.users, Hasher: r.hasher})
		if err != nil {
			t.Fatal(err)
		}
		r.auth = a
		ctx, cancel := context.WithCancel(t.Context())
		followed := make(chan error, 1)
		go func() { followed <- r.followSCRAM(ctx) }()
		defer func() { cancel(); <-followed }()
		for i, name := range []string{"ann@example.org", "bob@example.org"} {
			if _, err := r.users.Add(t.Context(), directory.User{Name: name, Store: "s01", Account: mail.AccountID{byte(i + 1)}}); err != nil {
				t.Fatal(err)
			}
		}
		set := func(name, password string) api.User {
			u, err := r.SetPassword(t.Context(), name, api.PasswordRequest{Password: password, By: "o"})
			if err != nil {
				t.Fatal(err)
			}
			return u
		}
		if u := set("ann@example.org", "one"); u.SCRAM || r.offered() != "PLAIN LOGIN" {
			t.Errorf("before it is on: %+v, %s", u, r.offered())
		}
		on, err := r.SetSCRAM(t.Context(), api.SCRAM{On: true, By: "o"})
		if err != nil || on != (api.SCRAM{On: true, Iterations: auth.Iterations, Users: 2}) || r.offered() != "SCRAM-SHA-256 PLAIN LOGIN" {
			t.Errorf("on: %+v, %v, %s", on, err, r.offered())
		}
		key, _, _ := r.mem.Get(t.Context(), coord.SCRAMKey)
		if u := set("Ann@example.org", "two"); !u.SCRAM {
			t.Errorf("%+v", u)
		}
		u, err := r.users.Lookup(t.Context(), "ann@example.org")
		if err != nil || !strings.HasPrefix(u.Verifier, "SCRAM-SHA-256$65536:") {
			t.Errorf("%+v, %v", u, err)
		}
		for password, want := range map[string]bool{"one": false, "two": true} {
			if ok, _, err := r.hasher.Verify(t.Context(), u.Credential, password); ok != want || err != nil {
				t.Errorf("%s: %v, %v", password, ok, err)
			}
		}
		if s, err := r.SetSCRAM(t.Context(), api.SCRAM{On: true, By: "o"}); err != nil || s.Verifiers != 1 {
			t.Errorf("on again: %+v, %v", s, err)
		}
		if again, _, _ := r.mem.Get(t.Context(), coord.SCRAMKey); string(again) != string(key) || len(key) == 0 {
			t.Error("another key: salts that were made up have changed")
		}
		off, err := r.SetSCRAM(t.Context(), api.SCRAM{By: "o"})
		if err != nil || off != (api.SCRAM{Users: 2}) || r.offered() != "PLAIN LOGIN" {
			t.Errorf("off: %+v, %v, %s", off, err, r.offered())
		}
		_, err = r.SetPassword(t.Context(), "ann@example.org", api.PasswordRequest{})
		wantError(t, err, http.StatusBadRequest, "a user needs a password")
		_, err = r.SetPassword(t.Context(), "nobody@example.org", api.PasswordRequest{Password: "x"})
		wantError(t, err, http.StatusNotFound, "there is no user nobody@example.org")
	})
}

func TestWhoCertifiesUsersIsRead(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		client config.Client
		want   string
	}{
		{config.Client{}, ""},
		{config.Client{CA: filepath.Join(dir, "none.pem")}, "read client.ca: open "},
		{config.Client{CA: empty}, "read client.ca: there is no certificate in "},
		{config.Client{OAuth: &config.OAuth{Issuer: "https://login.example.org", Audience: "mail", Claim: "email"}}, ""},
		{config.Client{OAuth: &config.OAuth{Issuer: "login.example.org", Audience: "mail", Claim: "email"}}, "client.oauth: issuer: "},
	} {
		r.cfg.Client = c.client
		var cfg auth.Config
		err := r.strangers(&cfg)
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.client, err)
		}
		if (cfg.Tokens != nil) != (err == nil && c.client.OAuth != nil) {
			t.Errorf("%+v: tokens %v", c.client, cfg.Tokens)
		}
	}
}
