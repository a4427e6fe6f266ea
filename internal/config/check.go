package config

import (
	"net"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/oidc"
)

// nameForm is what cluster and machine names may look like: they are part of
// keys, file names and certificates.
var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (p *collector) check(c *Config) {
	p.checkName("cluster", c.Cluster)
	p.checkName("machine", c.Machine)
	for _, r := range c.Roles {
		if !slices.Contains([]string{RoleStorage, RoleFront, RoleControl}, r) {
			p.add("roles", "one of storage, front, control", "unknown role %q", r)
		}
	}
	if c.Meta == "" {
		p.add("meta", "a directory on the fast disk, such as /var/lib/tandemail/meta", "is missing")
	}
	if c.Degrade != "accept" && c.Degrade != "refuse" {
		p.add("degraded", "accept or refuse", "unknown policy %q", c.Degrade)
	}
	p.checkAddress("listen.internal", c.Listen.Internal, true)
	p.checkAddress("listen.lmtp", c.Listen.LMTP, false)
	p.checkAddress("listen.imap", c.Listen.IMAP, false)
	p.checkAddress("listen.imaps", c.Listen.IMAPS, false)
	p.checkAddress("listen.imap_local", c.Listen.IMAPLocal, false)
	if c.Listen.IMAPLocal != "" && !c.Has(RoleStorage) {
		p.add("listen.imap_local", "storage among the roles, or listen.imap", "without the role storage no user's master is here")
	}
	p.checkAddress("listen.pop3", c.Listen.POP3, false)
	p.checkAddress("listen.pop3s", c.Listen.POP3S, false)
	p.checkAddress("listen.http", c.Listen.HTTP, false)
	p.checkLoopback("listen.http", c.Listen.HTTP)
	p.checkControl(c)
	if (c.Client.Certificate == "") != (c.Client.Key == "") {
		p.add("client.certificate", "give both or none", "certificate and key belong together")
	}
	if c.Client.Certificate == "" && (c.Listen.IMAPS != "" || c.Listen.POP3S != "") {
		p.add("client.certificate", "the files of a certificate and its key in PEM", "listen.imaps and listen.pop3s need one")
	}
	p.checkClient(c.Client)
	if c.Mail.MaxSize < 1<<10 || c.Mail.MaxSize > 100<<20 {
		p.add("mail.max_size", "octets", "must be between 1024 and 104857600")
	}
	for _, n := range c.Mail.Trusted {
		if _, err := netip.ParsePrefix(n); err != nil {
			p.add("mail.trusted", `a network such as "192.0.2.0/24"`, "%v", err)
		}
	}
	if c.Mail.HoldLMTP < 0 || c.Mail.HoldSessions < 0 {
		p.add("mail", "", "times cannot be negative")
	}
}

func (p *collector) checkClient(c Client) {
	if c.MaxConnections < 1 {
		p.add("client.max_connections", "", "must be at least 1")
	}
	if c.MaxSessionsPerUser < 1 {
		p.add("client.max_sessions_per_user", "", "must be at least 1")
	}
	if c.CA != "" && c.Certificate == "" {
		p.add("client.ca", "client.certificate and client.key", "is of no use without TLS")
	}
	if c.OAuth == nil {
		return
	}
	if err := oidc.CheckURL(c.OAuth.Issuer); err != nil {
		p.add("client.oauth.issuer", `such as "https://login.example.org"; what its tokens have as "iss"`, "%v", err)
	}
	if c.OAuth.Audience == "" {
		p.add("client.oauth.audience", `what its tokens for mail have as "aud"; a token for another service must let nobody in here`, "is missing")
	}
	if strings.ContainsAny(c.OAuth.Scope, " \"\\") {
		p.add("client.oauth.scope", "", "%q is not one scope", c.OAuth.Scope)
	}
}

func (p *collector) checkName(key, v string) {
	if !nameForm.MatchString(v) {
		p.add(key, "lower-case letters, digits and hyphens, at most 63", "%q is no name", v)
	}
}

func (p *collector) checkAddress(key, v string, required bool) {
	if v == "" {
		if required {
			p.add(key, `an address such as "192.0.2.1:7700"`, "is missing")
		}
		return
	}
	if _, port, err := net.SplitHostPort(v); err != nil || port == "" {
		p.add(key, `an address such as "192.0.2.1:143"`, "%q is no host:port", v)
	}
}

// checkLoopback: who reaches the API may do everything, so only this host may.
func (p *collector) checkLoopback(key, v string) {
	host, _, err := net.SplitHostPort(v)
	if err != nil {
		return // nothing, or reported already
	}
	if !isLoopback(host) {
		p.add(key, `such as "127.0.0.1:8025"; reach it from elsewhere through ssh`, "%q is no loopback address, and the API asks nobody who they are", v)
	}
}

// nearest suggests the known key that is most like the unknown one.
func nearest(key string) string {
	best, bestDistance := "", len(key)/2+1
	for _, k := range knownKeys(reflect.TypeFor[Config](), "") {
		if d := distance(key, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return "docs/configuration.md has all keys"
	}
	return "did you mean " + best + "?"
}

func knownKeys(t reflect.Type, prefix string) []string {
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		name := prefix + f.Tag.Get("toml")
		keys = append(keys, name)
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct {
			keys = append(keys, knownKeys(ft, name+".")...)
		}
	}
	return keys
}

// distance is Levenshtein's: edits of one octet that turn a into b.
func distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(diagonal+cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
