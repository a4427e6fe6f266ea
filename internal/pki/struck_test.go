package pki

import (
	"crypto/x509"
	"os"
	"testing"
	"time"
)

func TestTheListOfStruckKeysNamesEveryCertificateOfThem(t *testing.T) {
	dir := t.TempDir()
	if HasStruck(dir) {
		t.Error("there is a list already")
	}
	must(t, WriteStruck(dir, nil, time.Now()))
	m1, ca := issuing(t, "m1", nil)
	before := m1.certificate().Leaf
	m1.renew(t, m1.dir)
	must(t, m1.Reload())
	other, _ := issuing(t, "m2", ca)
	must(t, WriteStruck(dir, []KeyID{m1.Key}, time.Now()))
	b, err := os.ReadFile(StruckPath(dir))
	must(t, err)
	list, err := x509.ParseRevocationList(b)
	if err != nil || len(list.RevokedCertificateEntries) != 1 || !HasStruck(dir) {
		t.Fatalf("list %+v, %v", list, err)
	}
	serial := list.RevokedCertificateEntries[0].SerialNumber
	for what, cert := range map[string]*x509.Certificate{"the first": before, "the renewed": m1.certificate().Leaf} {
		if cert.SerialNumber.Cmp(serial) != 0 {
			t.Errorf("%s certificate is not in the list", what)
		}
	}
	if other.certificate().Leaf.SerialNumber.Cmp(serial) == 0 {
		t.Error("another machine's is")
	}
}
