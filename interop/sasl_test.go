package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
)

// provider is an OpenID provider: it publishes a key, and the test signs by it.
type provider struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	issuer string
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, key: key}
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": p.issuer, "jwks_uri": p.issuer + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{
			"kty": "EC", "crv": "P-256", "kid": "k", "use": "sig", "x": b64(point[1:33]), "y": b64(point[33:]),
		}}})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.issuer = server.URL
	return p
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token is a JWT (RFC 7519), signed with ES256, for mail of a user.
func (p *provider) token(user string, expires time.Time) string {
	p.t.Helper()
	claims, err := json.Marshal(map[string]any{
		"iss": p.issuer, "aud": "mail", "sub": "1", "email": user, "iat": time.Now().Unix(), "exp": expires.Unix(),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	signed := b64([]byte(`{"alg":"ES256","kid":"k","typ":"at+jwt"}`)) + "." + b64(claims)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, sum[:])
	if err != nil {
		p.t.Fatal(err)
	}
	octets := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
	return signed + "." + b64(append(octets(r), octets(s)...))
}

// believing gives an account through a machine that takes the provider's tokens. Its
// configuration is read when it starts, so it is ended and started again; then as it was.
func believing(t *testing.T, p *provider) (*account, machine) {
	t.Helper()
	a := newAccount(t)
	a.deliver(1)
	m := &cluster.Machines[len(cluster.Machines)-1]
	path := filepath.Join(cluster.Dir, m.Name, "tandemail.toml")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	again := func(config []byte) {
		t.Helper()
		if err := os.WriteFile(path, config, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(m.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		a.await(func() error {
			out, err := a.try(cluster.binary, "--dir", cluster.Dir, "--json", "machine", "start", m.Name)
			if err == nil {
				err = json.Unmarshal([]byte(out), m)
			}
			return err
		})
		a.await(func() error { // its front end listens, and the store is served
			c, err := imapclient.DialInsecure(m.IMAP, nil)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.Login(a.user, a.password).Wait(); err != nil {
				return err
			}
			_, err = c.Select("INBOX", nil).Wait()
			return err
		})
	}
	again(fmt.Appendf(before[:len(before):len(before)], "\n[client.oauth]\nissuer = %q\naudience = \"mail\"\n", p.issuer))
	a.through(*m)
	t.Cleanup(func() { again(before) })
	return a, *m
}

// await asks until it is so.
func (a *account) await(ask func() error) {
	a.t.Helper()
	for deadline := time.Now().Add(startTime); ; {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatal(err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

var loginLine = regexp.MustCompile(`(?m)^tandemail_logins_by_mechanism_total\{mechanism="([^"]+)",protocol="([^"]+)"\} (\d+)$`)

// logins are those that a machine has counted, by protocol and mechanism.
func (a *account) logins(m machine) map[string]int {
	a.t.Helper()
	r, err := http.Get("http://" + m.HTTP + "/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	got := map[string]int{}
	for _, l := range loginLine.FindAllStringSubmatch(string(text), -1) {
		got[l[2]+" "+l[1]], _ = strconv.Atoi(l[3])
	}
	return got
}

// TestClientsComeInWithTokens of a provider that the machine has been told of.
func TestClientsComeInWithTokens(t *testing.T) {
	p := newProvider(t)
	a, m := believing(t, p)
	t.Run("curl", func(t *testing.T) { curlReads(t, p, a, m) })
	t.Run("python", func(t *testing.T) { pythonReads(t, p, a, m) })
}

// curlReads mail by IMAP and POP3, with a password and with tokens; and is refused with a
// token that has expired. With a token it takes OAUTHBEARER wherever there is that,
// whatever it was told.
func curlReads(t *testing.T, p *provider, a *account, m machine) {
	need(t, "curl")
	good, old := p.token(a.user, time.Now().Add(time.Hour)), p.token(a.user, time.Now().Add(-time.Hour))
	urls := map[string]string{"imap": a.fill("imap://{imaphost}:{imapport}/INBOX;MAILINDEX=1"), "pop3": a.fill("pop3://{pop3host}:{pop3port}/1")}
	for protocol, url := range urls {
		for _, mechanism := range []string{"PLAIN", "LOGIN", "OAUTHBEARER"} {
			token := mechanism == "OAUTHBEARER"
			by := func(jwt string) []string {
				args := []string{"--silent", "--show-error", "--max-time", "60", "--login-options", "AUTH=" + mechanism, "--url", url}
				if token {
					return append(args, "--user", a.user+":", "--oauth2-bearer", jwt)
				}
				return append(args, "--user", a.user+":"+a.password)
			}
			before := a.logins(m)
			if out := a.run("curl", by(good)...); !strings.Contains(out, "Subject: message 1\r\n") || !strings.Contains(out, "Text 1\r\n") {
				t.Errorf("%s by %s: read %q", protocol, mechanism, out)
			}
			way := protocol + " " + mechanism
			if after := a.logins(m); after[way] != before[way]+1 {
				t.Errorf("%s: counted %d and then %d", way, before[way], after[way])
			}
			if !token {
				continue
			}
			if out, err := a.try("curl", by(old)...); err == nil || strings.Contains(out, "Text 1") {
				t.Errorf("%s: with a token that has expired: %v, %q", way, err, out)
			}
		}
	}
}

const xoauth2 = `import base64, imaplib, poplib, sys
host, port, pop3host, pop3port, user, good, old = sys.argv[1:]
say = lambda token: ("user=%s\x01auth=Bearer %s\x01\x01" % (user, token)).encode()
m = imaplib.IMAP4(host, int(port))
try:
    m.authenticate("XOAUTH2", lambda challenge: b"" if challenge else say(old))
    sys.exit("a token that has expired is taken")
except imaplib.IMAP4.error as e:
    print("refused:", e)
m.authenticate("XOAUTH2", lambda challenge: b"" if challenge else say(good))
m.select("INBOX", readonly=True)
print("imap:", m.fetch("1", "(BODY.PEEK[])")[1][0][1].decode())
m.logout()
p = poplib.POP3(pop3host, int(pop3port))
p._shortcmd("AUTH XOAUTH2")
p._shortcmd(base64.b64encode(say(good)).decode())
print("pop3:", b"\n".join(p.retr(1)[1]).decode())
p.quit()
`

// pythonReads by XOAUTH2: imaplib after the error that it has to answer, on the same
// connection, and poplib, which knows no mechanism and is told what to say.
func pythonReads(t *testing.T, p *provider, a *account, m machine) {
	need(t, "python3")
	before := a.logins(m)
	out := a.run("python3", a.path("x.py", xoauth2), a.imapHost, a.imapPort, a.pop3Host, a.pop3Port, a.user,
		p.token(a.user, time.Now().Add(time.Hour)), p.token(a.user, time.Now().Add(-time.Hour)))
	if !strings.Contains(out, "refused:") || strings.Count(out, "Text 1") != 2 {
		t.Errorf("got %s", out)
	}
	after := a.logins(m)
	for _, way := range []string{"imap XOAUTH2", "pop3 XOAUTH2"} {
		if after[way] != before[way]+1 {
			t.Errorf("%s: counted %d and then %d", way, before[way], after[way])
		}
	}
}

// TestGsaslLogsInByEachMechanism: by SCRAM when it is on, from the next password on.
func TestGsaslLogsInByEachMechanism(t *testing.T) {
	need(t, "gsasl")
	a := newAccount(t)
	var m machine
	for _, x := range cluster.Machines {
		if x.IMAP == a.imap {
			m = x
		}
	}
	gsasl := func(mechanism, password string) (string, error) {
		return a.try("gsasl", "--imap", "--connect="+a.imap, "--no-starttls", "--mechanism="+mechanism,
			"--authentication-id="+a.user, "--password="+password)
	}
	a.operate("cluster", "scram", "on")
	t.Cleanup(func() { a.operate("cluster", "scram", "off", "--yes") })
	if out, err := gsasl("SCRAM-SHA-256", a.password); err == nil {
		t.Errorf("by SCRAM, without a verifier: %s", out)
	}
	a.operate("user", "password", a.user, "--password", a.password)
	for _, mechanism := range []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"} {
		before := a.logins(m)["imap "+mechanism]
		a.await(func() error { // the other machine hears of it in a moment
			out, err := gsasl(mechanism, a.password)
			if err != nil {
				err = fmt.Errorf("by %s: %w\n%s", mechanism, err, out)
			}
			return err
		})
		if after := a.logins(m)["imap "+mechanism]; after != before+1 {
			t.Errorf("%s: counted %d and then %d", mechanism, before, after)
		}
		if out, err := gsasl(mechanism, "wrong"); err == nil {
			t.Errorf("by %s with a wrong password: %s", mechanism, out)
		}
	}
}
