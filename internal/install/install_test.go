package install

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/pki"
)

// freePlan has ports that nobody has now.
func freePlan(t *testing.T) Plan {
	t.Helper()
	dir := t.TempDir()
	p := Plan{
		Cluster: "test", Machine: "m1", Zone: "z1", Roles: []string{"storage", "front", "control"}, Address: "127.0.0.1",
		Config: filepath.Join(dir, "etc", "tandemail.toml"), Meta: filepath.Join(dir, "meta"), Spool: filepath.Join(dir, "spool"),
	}
	for _, port := range []*int{&p.Ports.Internal, &p.Ports.LMTP, &p.Ports.IMAP, &p.Ports.HTTP} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		*port = ln.Addr().(*net.TCPAddr).Port
	}
	for p.Ports.Member = 30_000; free(t.Context(), p.at(p.Ports.Member)) != nil || free(t.Context(), p.at(p.Ports.Member+1)) != nil; p.Ports.Member++ {
	}
	return p
}

func TestInitMakesAMachineAndNeverASecondTime(t *testing.T) {
	p := freePlan(t)
	log := slog.New(slog.DiscardHandler)
	if err := Init(t.Context(), p, time.Now, log); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(p.Config)
	if err != nil {
		t.Fatal(err)
	}
	if c.Machine != "m1" || c.Cluster != "test" || c.Zone != "z1" || c.Meta != p.Meta || len(c.Control.Member.Initial) != 0 {
		t.Errorf("configuration %+v", c)
	}
	id, err := pki.Load(c.PKI.Dir)
	if err != nil || id.Machine != "m1" || !pki.Issues(c.PKI.Dir) {
		t.Errorf("identity %+v, %v", id, err)
	}
	for path, want := range map[string]os.FileMode{p.Meta: 0o700, p.Spool: 0o700, filepath.Join(c.PKI.Dir, "ca.key"): 0o600, p.Config: 0o644} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	key, err := os.ReadFile(filepath.Join(c.PKI.Dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Init(t.Context(), p, time.Now, log); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a second time: %v", err)
	}
	if again, err := os.ReadFile(filepath.Join(c.PKI.Dir, "ca.key")); err != nil || string(again) != string(key) {
		t.Errorf("the CA's key is another now, %v", err)
	}
}

func TestPlanSaysEverythingThatIsInItsWay(t *testing.T) {
	p := freePlan(t)
	ln, err := net.Listen("tcp", p.at(p.Ports.IMAP))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p.Machine, p.Owner = "M 1", "nobody-of-this-name"
	err = p.Check(t.Context())
	for _, want := range []string{`"M 1" is no name`, "nobody-of-this-name", fmt.Sprint(p.Ports.IMAP)} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %s", err, want)
		}
	}
	p = freePlan(t)
	p.Address = "0.0.0.0"
	if err := p.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "no IP address") {
		t.Errorf("every address: %v", err)
	}
	for _, path := range []string{p.Meta, p.Spool, filepath.Dir(p.Config)} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("a check has made %s", path)
		}
	}
}

func TestConfigurationIsThatOfTheRoles(t *testing.T) {
	p := freePlan(t)
	p.Roles = []string{"control"}
	text, c, err := p.render([]string{"https://192.0.2.1:2379"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.IMAP != "" || c.Listen.LMTP != "" || c.Control.Member == nil || strings.Contains(string(text), "[mail]") {
		t.Errorf("a witness has\n%s", text)
	}
	p.Roles = []string{"storage", "front"}
	if _, c, err = p.render([]string{"https://192.0.2.1:2379"}, false); err != nil || c.Control.Member != nil || c.Listen.IMAP == "" {
		t.Errorf("a machine without control has %+v, %v", c, err)
	}
}

func TestHostNamesBecomeMachineNames(t *testing.T) {
	for host, want := range map[string]string{"Mail-1.example.org": "mail-1", "m1": "m1", "x_y": "", "-a": "", "": ""} {
		if got := machineName(host); got != want {
			t.Errorf("%q became %q", host, got)
		}
	}
}

func TestTheOnlyAddressIsFound(t *testing.T) {
	ip := func(list ...string) (out []net.Addr) {
		for _, s := range list {
			out = append(out, &net.IPNet{IP: net.ParseIP(s)})
		}
		return out
	}
	for _, tc := range []struct {
		have []net.Addr
		want string
	}{
		{ip("127.0.0.1", "192.0.2.1", "fe80::1", "2001:db8::1"), "192.0.2.1"},
		{ip("127.0.0.1", "::1", "2001:db8::1"), "2001:db8::1"},
		{ip("192.0.2.1", "192.0.2.2"), ""},
		{ip("127.0.0.1"), ""},
	} {
		if got, err := onlyOf(tc.have); got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%v: %q, %v", tc.have, got, err)
		}
	}
}
