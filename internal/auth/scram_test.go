package auth_test

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/auth"
)

// prover is a client of SCRAM, written from RFC 5802 alone.
type prover struct {
	header, binding       string // GS2's, and the channel's octets
	user, password, nonce string
	server                string // the first message
	tamper                func(final string) string
}

func (p *prover) first() string {
	return p.header + "n=" + p.user + ",r=" + p.nonce
}

// final answers the server's first message, and says what the server must answer.
func (p *prover) final(t *testing.T, server string) (final, want string) {
	t.Helper()
	p.server = server
	f := strings.Split(server, ",")
	if len(f) != 3 || !strings.HasPrefix(f[0], "r="+p.nonce) || len(f[0]) < len(p.nonce)+20 {
		t.Fatalf("the server's first message is %q", server)
	}
	salt, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(f[1], "s="))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimPrefix(f[2], "i="))
	if err != nil {
		t.Fatal(err)
	}
	salted, err := pbkdf2.Key(sha256.New, p.password, salt, n, 32)
	if err != nil {
		t.Fatal(err)
	}
	without := "c=" + base64.StdEncoding.EncodeToString([]byte(p.header+p.binding)) + "," + f[0]
	said := []byte("n=" + p.user + ",r=" + p.nonce + "," + server + "," + without)
	clientKey := sum(salted, []byte("Client Key"))
	stored := sha256.Sum256(clientKey)
	proof := sum(stored[:], said)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	b64 := base64.StdEncoding.EncodeToString
	return without + ",p=" + b64(proof), "v=" + b64(sum(sum(salted, []byte("Server Key")), said))
}

func sum(key, data []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(data)
	return m.Sum(nil)
}

// scrammed is a bench whose users anna and admin have verifiers; bob has none.
func scrammed(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	for _, name := range []string{"anna", "admin"} {
		u := b.users.byName[name]
		v, err := b.hasher.Verifier(t.Context(), name+"'s secret", 4096)
		if err != nil {
			t.Fatal(err)
		}
		u.Verifier = v
		b.users.byName[name] = u
	}
	b.SetSCRAM(&auth.SCRAMSetting{Iterations: 4096, Key: []byte("a key of the cluster's")})
	return b
}

// prove runs an exchange to its end. A server that lets somebody in has proven itself.
func (b *bench) prove(t *testing.T, mechanism string, peer *auth.Peer, p *prover) (*auth.Identity, error) {
	t.Helper()
	x, ok := b.Start(mechanism, peer)
	if !ok {
		t.Fatalf("%s is not offered", mechanism)
	}
	server, _, err := x.Next(t.Context(), []byte(p.first()))
	if err != nil {
		return nil, err
	}
	final, want := p.final(t, string(server))
	if p.tamper != nil {
		final = p.tamper(final)
	}
	answer, who, err := x.Next(t.Context(), []byte(final))
	if err != nil {
		return nil, err
	}
	if string(answer) != want || who != nil {
		t.Fatalf("the server proves itself by %q, not %q; %v", answer, want, who)
	}
	_, who, err = x.Next(t.Context(), []byte{})
	return who, err
}

func TestSCRAM(t *testing.T) {
	b := scrammed(t)
	ice := b.users.byName["anna"]
	ice.Name, ice.State = "ice", "frozen"
	b.users.byName["ice"] = ice
	odd := b.users.byName["anna"]
	odd.Name = "a,=b"
	b.users.byName["a,=b"] = odd
	broken := b.users.byName["anna"]
	broken.Name, broken.Verifier = "broken", "SCRAM-OF-THE-FUTURE$"
	b.users.byName["broken"] = broken
	for _, c := range []struct {
		name string
		p    prover
		want string
		err  error
	}{
		{"right", prover{header: "n,,", user: "anna", password: "anna's secret"}, "anna by ", nil},
		{"it knows bindings, we offer none here", prover{header: "y,,", user: "Anna", password: "anna's secret"}, "anna by ", nil},
		{"as oneself", prover{header: "n,a=anna,", user: "anna", password: "anna's secret"}, "anna by ", nil},
		{"a name with escapes", prover{header: "n,,", user: "a=2C=3Db", password: "anna's secret"}, "a,=b by ", nil},
		{"as another", prover{header: "n,a=bob,", user: "anna", password: "anna's secret"}, "", auth.ErrFailed},
		{"a master user", prover{header: "n,a=bob,", user: "admin", password: "admin's secret"}, "bob by admin", nil},
		{"a master user as nobody", prover{header: "n,a=nobody,", user: "admin", password: "admin's secret"}, "", auth.ErrFailed},
		{"wrong", prover{header: "n,,", user: "anna", password: "bob's secret"}, "", auth.ErrFailed},
		{"without a verifier", prover{header: "n,,", user: "bob", password: "bob's secret"}, "", auth.ErrFailed},
		{"nobody", prover{header: "n,,", user: "nobody", password: "x"}, "", auth.ErrFailed},
		{"frozen", prover{header: "n,,", user: "ice", password: "anna's secret"}, "", auth.ErrFrozen},
		{"unreadable verifier", prover{header: "n,,", user: "broken", password: "x"}, "", auth.ErrUnavailable},
		{"bound", prover{header: "p=tls-exporter,,", user: "anna", password: "anna's secret"}, "", auth.ErrSyntax},
		{"header changed", prover{header: "n,,", binding: "x", user: "anna", password: "anna's secret"}, "", auth.ErrFailed},
		{"another nonce", prover{header: "n,,", user: "anna", password: "anna's secret", tamper: func(s string) string {
			return strings.Replace(s, ",r=", ",r=x", 1)
		}}, "", auth.ErrSyntax},
		{"half a proof", prover{header: "n,,", user: "anna", password: "anna's secret", tamper: func(s string) string {
			return s[:len(s)-16]
		}}, "", auth.ErrSyntax},
	} {
		c.p.nonce = "fyko+d2lbbFgONRv9qkxdawL"
		who, err := b.prove(t, "SCRAM-SHA-256", b.peer("192.0.2.1"), &c.p)
		got := ""
		if who != nil {
			got = who.User + " by " + who.AuthorisedBy
		}
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

// TestNobodyIsToldWhoHasAVerifier: what the server says to a name is the same whenever
// it is asked and wherever, and looks alike for all.
func TestNobodyIsToldWhoHasAVerifier(t *testing.T) {
	b, other := scrammed(t), scrammed(t)
	asked := func(b *bench, user string) (salt, iterations string) {
		x, _ := b.Start("SCRAM-SHA-256", b.peer("192.0.2.1"))
		server, _, err := x.Next(t.Context(), []byte("n,,n="+user+",r=nonce"))
		f := strings.Split(string(server), ",")
		if err != nil || len(f) != 3 {
			t.Fatalf("%s: %s, %v", user, server, err)
		}
		return f[1], f[2]
	}
	seen := map[string]string{}
	for _, user := range []string{"anna", "bob", "nobody", "nobody@example.org", "@"} {
		salt, iterations := asked(b, user)
		if iterations != "i=4096" || len(salt) != len("s=")+24 {
			t.Errorf("%s: %s, %s", user, salt, iterations)
		}
		if again, _ := asked(b, user); again != salt {
			t.Errorf("%s: another salt", user)
		}
		if elsewhere, _ := asked(other, user); user != "anna" && elsewhere != salt {
			t.Errorf("%s: another salt at another front end", user)
		}
		if before, twice := seen[salt]; twice {
			t.Errorf("%s and %s have one salt", user, before)
		}
		seen[salt] = user
	}
	one, _ := asked(b, "nobody@example.org")
	if two, _ := asked(b, "NoBody@Example.ORG"); one != two {
		t.Error("a user has one salt in every spelling, and who is none has not")
	}
}

func TestFailedProofsAreLimitedAsPasswordsAre(t *testing.T) {
	b := scrammed(t)
	right := func(remote string) error {
		_, err := b.prove(t, "SCRAM-SHA-256", b.peer(remote), &prover{header: "n,,", user: "anna", password: "anna's secret", nonce: "n"})
		return err
	}
	if err := right("192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		_, err := b.prove(t, "SCRAM-SHA-256", b.peer(fmt.Sprintf("198.51.100.%d", i)), &prover{header: "n,,", user: "anna", password: "guess", nonce: "n"})
		if !errors.Is(err, auth.ErrFailed) {
			t.Fatal(i, err)
		}
	}
	if err := right("192.0.2.1"); err != nil {
		t.Errorf("remembered, and locked out by others' guesses: %v", err)
	}
	b.now = b.now.Add(5*time.Minute + time.Second)
	for range 10 {
		_, _ = b.prove(t, "SCRAM-SHA-256", b.peer("198.51.100.1"), &prover{header: "n,,", user: "anna", password: "guess", nonce: "n"})
	}
	if err := right("192.0.2.1"); !errors.Is(err, auth.ErrLimited) {
		t.Errorf("not remembered any more: %v", err)
	}
	if _, err := b.try(t, "anna", "", "anna's secret", "192.0.2.1"); !errors.Is(err, auth.ErrLimited) {
		t.Errorf("a password counts proofs: %v", err)
	}
}

// TestSCRAMOfRFC7677 is its example: user, pencil.
func TestSCRAMOfRFC7677(t *testing.T) {
	b := newBench(t)
	const verifier = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	u := b.users.byName["anna"]
	u.Verifier = verifier
	b.users.byName["user"] = u
	b.SetSCRAM(&auth.SCRAMSetting{Iterations: 4096, Key: []byte("k")})
	who, err := b.prove(t, "SCRAM-SHA-256", b.peer("192.0.2.1"), &prover{header: "n,,", user: "user", password: "pencil", nonce: "rOprNGfwEbeRWgbNEkqO"})
	if err != nil || who == nil {
		t.Fatal(who, err)
	}
}

func TestPasswordsAreProvenInEverySpelling(t *testing.T) {
	b := newBench(t)
	for password, sent := range map[string]string{
		"gru\u0308n":               "gr\u00fcn",
		"\ufb01sh":                 "fish",                     // a ligature
		"a\u00a0b":                 "a b",                      // another space
		"I\u00adX":                 "IX",                       // RFC 4013 3
		"\u2168":                   "IX",                       // likewise
		"\u0645\u0631\u062d\u0628": "\u0645\u0631\u062d\u0628", // right to left
	} {
		v, err := b.hasher.Verifier(t.Context(), password, 4096)
		if err != nil || v == "" {
			t.Fatalf("%q: %q, %v", password, v, err)
		}
		u := b.users.byName["anna"]
		u.Verifier = v
		b.users.byName["anna"] = u
		b.SetSCRAM(&auth.SCRAMSetting{Iterations: 4096, Key: []byte("k")})
		if _, err := b.prove(t, "SCRAM-SHA-256", b.peer("192.0.2.1"), &prover{header: "n,,", user: "anna", password: sent, nonce: "n"}); err != nil {
			t.Errorf("%q as %q: %v", password, sent, err)
		}
	}
	for _, password := range []string{"", "\u0007", "\u00ad", "a\ue000", strings.Repeat("x", 1025)} {
		if v, err := b.hasher.Verifier(t.Context(), password, 4096); v != "" || err != nil {
			t.Errorf("%q: %q, %v", password, v, err)
		}
	}
}

func TestTheClientMustTakeTheServersProof(t *testing.T) {
	b := scrammed(t)
	x, _ := b.Start("SCRAM-SHA-256", b.peer("192.0.2.1"))
	p := &prover{header: "n,,", user: "anna", password: "anna's secret", nonce: "n"}
	server, _, err := x.Next(t.Context(), []byte(p.first()))
	if err != nil {
		t.Fatal(err)
	}
	final, _ := p.final(t, string(server))
	if _, who, err := x.Next(t.Context(), []byte(final)); who != nil || err != nil {
		t.Fatal(who, err)
	}
	if _, who, err := x.Next(t.Context(), []byte("more")); who != nil || !errors.Is(err, auth.ErrSyntax) {
		t.Error(who, err)
	}
}

// FuzzSCRAM: whatever a client says lets nobody in and ends in an error that there is.
func FuzzSCRAM(f *testing.F) {
	f.Add([]byte("n,,n=anna,r=x"), []byte("c=biws,r=x,p=AAAA"))
	f.Add([]byte("y,a=b=2Cc,n=anna,r=x,e=1"), []byte("c=biws,r=x,x=y,p="))
	f.Add([]byte("p=tls-exporter,,n=,r="), []byte(",p="))
	f.Add([]byte("n,a=,m=1,n=a,r=b"), []byte("r=x,c=biws"))
	var a *auth.Authenticator
	f.Fuzz(func(t *testing.T, first, final []byte) {
		if a == nil {
			a = scrammed(t).Authenticator
		}
		for _, mechanism := range []string{"SCRAM-SHA-256"} {
			x, _ := a.Start(mechanism, a.Meet(netip.Addr{}, nil, nil))
			server, who, err := x.Next(t.Context(), first)
			if who != nil || (err == nil) != strings.HasPrefix(string(server), "r=") {
				t.Fatalf("%q, %v, %v", server, who, err)
			}
			if err != nil {
				return
			}
			if _, who, err = x.Next(t.Context(), final); who != nil || err == nil {
				t.Fatalf("let in: %v, %v", who, err)
			}
			if !errors.Is(err, auth.ErrSyntax) && !errors.Is(err, auth.ErrFailed) && !errors.Is(err, auth.ErrLimited) {
				t.Fatal(err)
			}
		}
	})
}
