package config

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func good(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("testdata/good.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDefaultsAreFilledIn(t *testing.T) {
	c, err := Parse("good.toml", []byte(good(t)))
	if err != nil {
		t.Fatal(err)
	}
	if c.Zone != "m1" || c.Spool != "/var/lib/tandemail/spool" || c.PKI.Dir != "/var/lib/tandemail/meta/pki" {
		t.Errorf("zone %q, spool %q, pki %q", c.Zone, c.Spool, c.PKI.Dir)
	}
	if !c.Has(RoleStorage) || !c.Has(RoleFront) || !c.Has(RoleControl) {
		t.Errorf("roles %v, want all", c.Roles)
	}
	if c.Client.OAuth != nil {
		t.Error("tokens let users in")
	}
	c, err = Parse("good.toml", []byte(good(t)+"[client.oauth]\nissuer = \"https://login.example.org\"\naudience = \"mail\"\n"))
	if err != nil || c.Client.OAuth.Claim != "email" {
		t.Errorf("%+v, %v", c, err)
	}
	if c.Mail.HoldLMTP.Duration() != 8*time.Second || c.Control.Member.Dir != "/var/lib/tandemail/meta/etcd" {
		t.Errorf("hold %v, etcd directory %q", c.Mail.HoldLMTP.Duration(), c.Control.Member.Dir)
	}
}

// Each change to a good file gives exactly the errors named, with their lines.
func TestEveryErrorIsReportedWithItsLine(t *testing.T) {
	for _, tc := range []struct {
		name, old, new string
		want           []string
	}{
		{"unknown key", `lmtp = `, `lmpt = `, []string{`x:7: unknown key "listen.lmpt" (did you mean listen.lmtp?)`}},
		{"two at once", `machine = "m1"`, `machine = "M 1"` + "\n" + `colour = "red"`, []string{
			`x:2: machine: "M 1" is no name (lower-case letters, digits and hyphens, at most 63)`,
			`x:3: unknown key "colour" (`,
			`"M 1" is not in it`,
		}},
		{"wrong type", `machine = "m1"`, `machine = 1`, []string{`x:2: `}},
		{"syntax", `[control]`, `[control`, []string{`x:11: `}},
		{"no address", `imap = "192.0.2.1:143"`, `imap = "143"`, []string{`x:8: listen.imap: "143" is no host:port`}},
		{"API for everybody", `http = "127.0.0.1:8025"`, `http = "192.0.2.1:8025"`, []string{`x:9: listen.http: "192.0.2.1:8025" is no loopback address`}},
		{"master of nobody", `[listen]`, "roles = [\"front\"]\n[listen]\nimap_local = \"192.0.2.1:144\"", []string{`x:7: listen.imap_local: without the role storage`}},
		{"missing", `meta = "/var/lib/tandemail/meta"`, ``, []string{`x: meta: is missing`}},
		{"bad time", `[listen]`, "[mail]\nhold_lmtp = \"soon\"\n[listen]", []string{`x:6: `}},
		{"tokens for anybody", `[listen]`, "[client.oauth]\nissuer = \"http://login.example.org\"\nscope = \"a b\"\n[listen]", []string{
			`x:6: client.oauth.issuer: "http://login.example.org" is not https`, `x: client.oauth.audience: is missing`, `x:7: client.oauth.scope: "a b" is not one scope`,
		}},
		{"certificates without TLS", `[listen]`, "[client]\nca = \"users.pem\"\n[listen]", []string{`x:6: client.ca: is of no use without TLS`}},
		{"bad policy", `meta =`, "degraded = \"maybe\"\nmeta =", []string{`x:3: degraded: unknown policy "maybe" (accept or refuse)`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("x", []byte(strings.Replace(good(t), tc.old, tc.new, 1)))
			var p Problems
			if errors.As(err, &p) != (len(tc.want) > 0) || len(p) != len(tc.want) {
				t.Fatalf("problems:\n%v\nwant %d", err, len(tc.want))
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("problems:\n%v\nwant %s", err, w)
				}
			}
		})
	}
}

// FuzzParse: any octets give a configuration, or problems that each have a file, a
// line that is there, and a text.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good(f)))
	f.Add([]byte("[a\nb = [1, {c = 2}]\n"))
	f.Add([]byte("machine.x.y = 3\n[[listen]]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse("x", b)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v with error %v", c, err)
		}
		var problems Problems
		if err != nil && (!errors.As(err, &problems) || len(problems) == 0) {
			t.Fatalf("error of no kind: %v", err)
		}
		lines := bytes.Count(b, []byte("\n")) + 1
		for _, p := range problems {
			if p.File != "x" || p.Text == "" || p.Line < 0 || p.Line > lines {
				t.Fatalf("%+v in a file of %d lines", p, lines)
			}
		}
	})
}
