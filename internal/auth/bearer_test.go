package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/oidc"
)

// tokens are good for whom they name: "anna-token".
type tokens struct{ down bool }

func (p *tokens) Owner(_ context.Context, token string) (string, error) {
	switch name, ok := strings.CutSuffix(token, "-token"); {
	case p.down:
		return "", errors.New("connection refused")
	case token == "weak":
		return "", oidc.ErrScope
	case !ok:
		return "", oidc.ErrInvalid
	default:
		return name, nil
	}
}

func (*tokens) Wanted() (scope, configuration string) {
	return "mail", "https://login.example.org/.well-known/openid-configuration"
}

// bearing is a bench that believes tokens.
func bearing(t *testing.T) (*bench, *tokens) {
	t.Helper()
	b, p := newBench(t), &tokens{}
	ice := b.users.byName["bob"]
	ice.Name, ice.State = "ice", directory.Frozen
	b.users.byName["ice"] = ice
	a, err := auth.New(auth.Config{Users: b.users, Hasher: b.hasher, Tokens: p})
	if err != nil {
		t.Fatal(err)
	}
	b.Authenticator = a
	return b, p
}

const (
	invalid = `[{"status":"invalid_token","scope":"mail","openid-configuration":"https://login.example.org/.well-known/openid-configuration"}]`
	weak    = `[{"status":"insufficient_scope","scope":"mail","openid-configuration":"https://login.example.org/.well-known/openid-configuration"}]`
	googles = `[{"status":"401","schemes":"bearer","scope":"mail"}]`
)

func TestTokens(t *testing.T) {
	for _, c := range []struct {
		mech, response   string
		challenges, want string
		err              error
	}{
		{"OAUTHBEARER", "n,,\x01auth=Bearer anna-token\x01\x01", "", "anna by ", nil},
		{"OAUTHBEARER", "-", "[]", "", nil},
		{"OAUTHBEARER", "n,a=anna,\x01host=mail.example.org\x01port=143\x01auth=bearer  anna-token\x01\x01", "", "anna by ", nil},
		{"OAUTHBEARER", "y,a=bob,\x01auth=Bearer admin-token\x01\x01", "", "bob by admin", nil},
		{"OAUTHBEARER", "n,a=bob,\x01auth=Bearer anna-token\x01\x01", invalid, "", auth.ErrToken},
		{"OAUTHBEARER", "n,,\x01auth=Bearer nobody-token\x01\x01", invalid, "", auth.ErrToken},
		{"OAUTHBEARER", "n,,\x01auth=Bearer garbage\x01\x01", invalid, "", auth.ErrToken},
		{"OAUTHBEARER", "n,,\x01auth=Bearer weak\x01\x01", weak, "", auth.ErrToken},
		{"OAUTHBEARER", "n,,\x01auth=\x01\x01", invalid, "", auth.ErrToken},
		{"OAUTHBEARER", "n,,\x01auth=Bearer ice-token\x01\x01", "", "", auth.ErrFrozen},
		{"OAUTHBEARER", "n,,\x01auth=Basic anna-token\x01\x01", "", "", auth.ErrSyntax},
		{"OAUTHBEARER", "n,,\x01auth=Bearer a b\x01\x01", "", "", auth.ErrSyntax},
		{"OAUTHBEARER", "n,,\x01auth=Bearer \x01\x01", "", "", auth.ErrSyntax},
		{"OAUTHBEARER", "n,,\x01auth=Bearer anna-token\x01", "", "", auth.ErrSyntax},
		{"OAUTHBEARER", "n,,\x01auth=Bearer anna-token", "", "", auth.ErrSyntax},
		{"OAUTHBEARER", "n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01", "", "", auth.ErrSyntax},
		{"OAUTHBEARER", "n,,\x01host=x\x01\x01", "", "", auth.ErrSyntax},
		{"OAUTHBEARER", "n,,auth=Bearer anna-token\x01\x01", "", "", auth.ErrSyntax},
		{"OAUTHBEARER", "p=tls-exporter,,\x01auth=Bearer anna-token\x01\x01", "", "", auth.ErrSyntax},
		{"OAUTHBEARER", "x,,\x01auth=Bearer anna-token\x01\x01", "", "", auth.ErrSyntax},
		{"OAUTHBEARER", "", "", "", auth.ErrSyntax},
		{"OAUTHBEARER", "n,,\x01auth=Bearer " + strings.Repeat("x", 13<<10) + "\x01\x01", "", "", auth.ErrSyntax},
		{"XOAUTH2", "user=anna\x01auth=Bearer anna-token\x01\x01", "", "anna by ", nil},
		{"XOAUTH2", "user=bob\x01auth=Bearer admin-token\x01\x01", "", "bob by admin", nil},
		{"XOAUTH2", "user=bob\x01auth=Bearer anna-token\x01\x01", googles, "", auth.ErrToken},
		{"XOAUTH2", "user=anna\x01auth=Bearer garbage\x01\x01", googles, "", auth.ErrToken},
		{"XOAUTH2", "user=anna\x01auth=\x01\x01", "", "", auth.ErrSyntax},
		{"XOAUTH2", "user=\xff\x01auth=Bearer anna-token\x01\x01", "", "", auth.ErrSyntax},
		{"XOAUTH2", "\x01", "", "", auth.ErrSyntax},
	} {
		b, _ := bearing(t)
		x, ok := b.Start(c.mech, b.peer("192.0.2.1"))
		if !ok {
			t.Fatal(c.mech)
		}
		challenges, who, err := speak(t, x, c.response)
		got := ""
		if who != nil {
			got = who.User + " by " + who.AuthorisedBy
		}
		if got != c.want || challenges != c.challenges || !errors.Is(err, c.err) {
			t.Errorf("%s %.60q: %q, %s, %v", c.mech, c.response, got, challenges, err)
		}
		if err != nil && strings.Contains(err.Error(), "-token") {
			t.Errorf("the error has the token: %v", err)
		}
	}
}

func TestProviderThatIsDownIsNoRefusal(t *testing.T) {
	b, p := bearing(t)
	p.down = true
	for range 100 {
		x, _ := b.Start("OAUTHBEARER", b.peer("192.0.2.1"))
		challenges, _, err := speak(t, x, "n,,\x01auth=Bearer anna-token\x01\x01")
		if !errors.Is(err, auth.ErrUnavailable) || errors.Is(err, auth.ErrFailed) || challenges != "" {
			t.Fatal(challenges, err)
		}
	}
	p.down = false
	x, _ := b.Start("OAUTHBEARER", b.peer("192.0.2.1"))
	if _, who, err := speak(t, x, "n,,\x01auth=Bearer anna-token\x01\x01"); err != nil || who.User != "anna" {
		t.Fatal(err)
	}
}

// TestBadTokensAreLimitedByAddress and lock no user out, who did not give them.
func TestBadTokensAreLimitedByAddress(t *testing.T) {
	b, _ := bearing(t)
	send := func(remote, token string) error {
		x, _ := b.Start("XOAUTH2", b.peer(remote))
		_, _, err := speak(t, x, "user=anna\x01auth=Bearer "+token+"\x01\x01")
		return err
	}
	for i := range 50 {
		if err := send("192.0.2.1", fmt.Sprint("x", i)); !errors.Is(err, auth.ErrToken) {
			t.Fatal(i, err)
		}
	}
	if err := send("192.0.2.1", "anna-token"); !errors.Is(err, auth.ErrLimited) {
		t.Error(err)
	}
	if err := send("192.0.2.2", "anna-token"); err != nil {
		t.Error(err)
	}
}

// FuzzBearer: no octets are taken for a token that they do not have.
func FuzzBearer(f *testing.F) {
	for _, s := range []string{
		"n,,\x01auth=Bearer anna-token\x01\x01", "y,a=bob,\x01host=x\x01auth=Bearer admin-token\x01\x01",
		"user=anna\x01auth=Bearer anna-token\x01\x01", "n,,\x01auth=\x01\x01", "p=x,,\x01\x01",
	} {
		f.Add([]byte(s))
	}
	var b *bench
	f.Fuzz(func(t *testing.T, in []byte) {
		if b == nil {
			b, _ = bearing(t)
		}
		for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
			x, _ := b.Start(mechanism, b.Meet(netip.Addr{}, nil, nil))
			_, who, err := x.Next(t.Context(), append([]byte{}, in...))
			if who == nil == (err == nil) {
				t.Fatalf("%v, %v", who, err)
			}
			by := ""
			if who != nil {
				if by = who.AuthorisedBy; by == "" {
					by = who.User
				}
				if !strings.Contains(strings.ToLower(string(in)), by+"-token") {
					t.Fatalf("let in as %+v", who)
				}
			}
		}
	})
}
