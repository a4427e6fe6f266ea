package pki

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"github.com/tandemail/tandemail/internal/cluster"
)

// issuing is a machine that has the CA's key too, as those with the role control.
func issuing(t *testing.T, name cluster.Machine, from *CA) (*Identity, *CA) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	req, err := NewRequest(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	if from == nil {
		if from, err = CreateCA(dir, "test", fixedClock); err != nil {
			t.Fatal(err)
		}
	}
	certify(t, dir, req, from, from.CertPEM())
	if !Issues(dir) {
		key, err := from.KeyPEM()
		if err == nil {
			err = InstallCA(dir, key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	id, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return id, from
}

func certify(t *testing.T, dir string, req []byte, ca *CA, trust []byte) {
	t.Helper()
	cert, _, _, err := ca.Sign(req)
	if err == nil {
		err = Install(dir, cert, trust)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// renew certifies the machine by whatever CA issues in from.
func (id *Identity) renew(t *testing.T, from string) {
	t.Helper()
	ca, err := LoadCA(from, fixedClock)
	if err != nil {
		t.Fatal(err)
	}
	req, err := NewRequest(id.dir, id.Machine)
	if err != nil {
		t.Fatal(err)
	}
	certify(t, id.dir, req, ca, id.TrustPEM())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantTalk has every machine call every other, over configurations made before the
// first step, as a running process's are.
func wantTalk(t *testing.T, when string, servers, clients []*tls.Config) {
	t.Helper()
	for i, s := range servers {
		for j, c := range clients {
			if se, ce := shake(t, s, c); se != nil || ce != nil {
				t.Errorf("%s: machine %d called %d: server %v, client %v", when, j, i, se, ce)
			}
		}
	}
}

// TestMachinesTalkAtEveryStepOfAChangeOfTheCA takes each step at one machine after
// the other, and twice.
func TestMachinesTalkAtEveryStepOfAChangeOfTheCA(t *testing.T) {
	m1, ca := issuing(t, "m1", nil)
	m2, _ := issuing(t, "m2", ca)
	m3 := newMachine(t, ca, "m3")
	all := []*Identity{m1, m2, m3}
	var servers, clients []*tls.Config
	for _, id := range all {
		servers, clients = append(servers, id.Server(anyone, "p")), append(clients, id.Client("", anyone, "p"))
	}
	next, err := ca.CreateSuccessor(m1.dir, "test")
	must(t, err)
	a, err := next.Authority()
	must(t, err)
	step := func(name string, do func(*Identity) error) {
		t.Helper()
		for _, id := range all {
			for range 2 {
				if err := do(id); err != nil {
					t.Fatalf("%s at %s: %v", name, id.Machine, err)
				}
				must(t, id.Reload())
				wantTalk(t, name+" at "+string(id.Machine), servers, clients)
			}
		}
	}
	step("believe", func(id *Identity) error { return next.Believe(id.dir) })

	asked, err := ca.AskKey(m2.Key)
	must(t, err)
	key, err := next.GiveKey(m1.dir, m2.Key, asked)
	must(t, err)
	must(t, next.TakeKey(m2.dir, key))
	for _, id := range []*Identity{m1, m2} {
		if has, err := next.KeyIn(id.dir); err != nil || !has {
			t.Errorf("%s has the key: %v, %v", id.Machine, has, err)
		}
		for range 2 {
			must(t, next.Issue(id.dir))
		}
	}
	step("renew", func(id *Identity) error { id.renew(t, m2.dir); return nil })
	step("settle", func(id *Identity) error { return next.Settle(id.dir) })

	for _, id := range all {
		trust, err := id.Trust()
		issuer, _ := id.Issuer()
		if err != nil || len(trust) != 1 || trust[0].Key != a.Key || issuer != a.Key {
			t.Errorf("%s believes %v, is certified by %v (%v)", id.Machine, trust, issuer, err)
		}
	}
	if _, err := os.Stat(filepath.Join(m1.dir, nextKeyFile)); err == nil {
		t.Error("the key is there twice")
	}
	late := newMachine(t, ca, "m4") // certified by the old CA
	if s, _ := shake(t, servers[0], late.Client("m1", anyone, "p")); s == nil {
		t.Error("the old CA is still believed")
	}
	g := m3.GuestServer("g")
	if s, c := shake(t, g, GuestClient(a.Key, "g")); s != nil || c != nil {
		t.Errorf("a guest with the new CA's key: server %v, client %v", s, c)
	}
}

func TestOnlyTheOldCAMakesANewOne(t *testing.T) {
	m1, ca := issuing(t, "m1", nil)
	stranger, other := issuing(t, "m1", nil)
	foreign, err := other.CreateSuccessor(stranger.dir, "test")
	must(t, err)
	if err := foreign.Believe(m1.dir); err == nil {
		t.Error("the successor of another CA is believed")
	}
	next, err := ca.CreateSuccessor(m1.dir, "test")
	must(t, err)
	if err := (Successor{foreign.Certificate, next.Proof}).Believe(m1.dir); err == nil {
		t.Error("a proof holds for another certificate")
	}
	if err := next.Issue(m1.dir); err == nil {
		t.Error("a machine issues with a CA that it does not believe")
	}
	if err := next.Settle(m1.dir); err == nil {
		t.Error("a machine forgets the CA that it is certified by")
	}
	asked, err := other.AskKey(stranger.Key)
	must(t, err)
	if _, err := next.GiveKey(m1.dir, stranger.Key, asked); err == nil {
		t.Error("the key is given to who has another CA's")
	}
	if asked, err = ca.AskKey(m1.Key); err != nil {
		t.Fatal(err)
	}
	if _, err := next.GiveKey(m1.dir, stranger.Key, asked); err == nil {
		t.Error("the key is given to who shows another's proof")
	}
	if err := next.TakeKey(m1.dir, mustPEM(t, other)); err == nil {
		t.Error("another key is taken")
	}
}

func mustPEM(t *testing.T, ca *CA) []byte {
	t.Helper()
	b, err := ca.KeyPEM()
	must(t, err)
	return b
}

// TestANewAttemptTakesThePlaceOfOneThatCameToNothing: the CAs that are believed do
// not pile up.
func TestANewAttemptTakesThePlaceOfOneThatCameToNothing(t *testing.T) {
	m1, ca := issuing(t, "m1", nil)
	for range 3 {
		next, err := ca.CreateSuccessor(m1.dir, "test")
		must(t, err)
		must(t, next.Believe(m1.dir))
		must(t, m1.Reload())
		trust, err := m1.Trust()
		a, _ := next.Authority()
		if err != nil || len(trust) != 2 || trust[1].Key != a.Key {
			t.Fatalf("believed: %v, %v", trust, err)
		}
	}
}
