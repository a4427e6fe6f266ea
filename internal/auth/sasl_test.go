package auth_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/auth"
)

// peer is a client without TLS.
func (b *bench) peer(remote string) *auth.Peer {
	return b.Meet(netip.MustParseAddr(remote), nil, nil)
}

// speak plays a client's responses, "-" for none, and returns the challenges in brackets.
func speak(t *testing.T, x auth.Exchange, responses ...string) (challenges string, who *auth.Identity, err error) {
	t.Helper()
	for _, r := range responses {
		var in, challenge []byte
		if r != "-" {
			in = []byte(r)
		}
		challenge, who, err = x.Next(t.Context(), in)
		if challenge != nil {
			challenges += "[" + string(challenge) + "]"
		}
		if who != nil || err != nil {
			break
		}
	}
	return challenges, who, err
}

func TestExchangesWithAPassword(t *testing.T) {
	for _, c := range []struct {
		name, mech string
		responses  []string
		challenges string
		user, by   string
		err        error
	}{
		{name: "plain, initial response", mech: "PLAIN", responses: []string{"\x00anna\x00anna's secret"}, user: "anna"},
		{name: "plain, asked", mech: "PLAIN", responses: []string{"-", "bob\x00admin\x00admin's secret"}, challenges: "[]", user: "bob", by: "admin"},
		{name: "plain, as another", mech: "PLAIN", responses: []string{"bob\x00anna\x00anna's secret"}, err: auth.ErrFailed},
		{name: "plain, wrong", mech: "PLAIN", responses: []string{"\x00anna\x00pw"}, err: auth.ErrFailed},
		{name: "plain, two fields", mech: "PLAIN", responses: []string{"anna\x00pw"}, err: auth.ErrSyntax},
		{name: "plain, four fields", mech: "PLAIN", responses: []string{"\x00anna\x00pw\x00"}, err: auth.ErrSyntax},
		{name: "plain, empty", mech: "PLAIN", responses: []string{""}, err: auth.ErrSyntax},
		{name: "plain, no user", mech: "PLAIN", responses: []string{"bob\x00\x00pw"}, err: auth.ErrSyntax},
		{name: "plain, not UTF-8", mech: "PLAIN", responses: []string{"\x00anna\x00\xff"}, err: auth.ErrSyntax},
		{name: "plain, endless", mech: "PLAIN", responses: []string{"\x00anna\x00" + strings.Repeat("x", 2000)}, err: auth.ErrSyntax},
		{name: "login", mech: "LOGIN", responses: []string{"-", "anna", "anna's secret"}, challenges: "[Username:][Password:]", user: "anna"},
		{name: "login, initial response", mech: "LOGIN", responses: []string{"anna", "anna's secret"}, challenges: "[Password:]", user: "anna"},
		{name: "login, wrong", mech: "LOGIN", responses: []string{"anna", "pw"}, challenges: "[Password:]", err: auth.ErrFailed},
		{name: "login, no user", mech: "LOGIN", responses: []string{"-", ""}, challenges: "[Username:]", err: auth.ErrSyntax},
	} {
		b := newBench(t)
		x, ok := b.Start(c.mech, b.peer("192.0.2.1"))
		if !ok {
			t.Fatal(c.mech)
		}
		challenges, who, err := speak(t, x, c.responses...)
		if !errors.Is(err, c.err) || challenges != c.challenges || (who == nil) != (c.err != nil) {
			t.Errorf("%s: %s, %v, %v", c.name, challenges, who, err)
		}
		if who != nil && (who.User != c.user || who.AuthorisedBy != c.by) {
			t.Errorf("%s: %+v", c.name, who)
		}
	}
}

func TestOnlyWhatCanEndIsOffered(t *testing.T) {
	b := newBench(t)
	p := b.peer("192.0.2.1")
	if got := b.Mechanisms(p); !slices.Equal(got, []string{"PLAIN", "LOGIN"}) {
		t.Error(got)
	}
	for _, m := range append(auth.AllMechanisms(), "CRAM-MD5", "", "plain") {
		if _, ok := b.Start(m, p); ok != (m == "PLAIN" || m == "LOGIN") {
			t.Errorf("%s: %v", m, ok)
		}
	}
	b.SetSCRAM(&auth.SCRAMSetting{Iterations: 4096, Key: []byte("key")})
	if got := b.Mechanisms(p); !slices.Equal(got, []string{"SCRAM-SHA-256", "PLAIN", "LOGIN"}) {
		t.Error(got)
	}
	b.SetSCRAM(nil)
	if _, ok := b.Start("SCRAM-SHA-256", p); ok {
		t.Error("it was switched off")
	}
}
