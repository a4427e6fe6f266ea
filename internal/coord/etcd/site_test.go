package etcd_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord/etcd"
	"github.com/tandemail/tandemail/internal/pki"
)

// site is a CA and its machines.
type site struct {
	dir string
	ca  *pki.CA
}

func newSite(dir string, now func() time.Time) (site, error) {
	ca, err := pki.CreateCA(filepath.Join(dir, "ca"), "test", now)
	return site{dir, ca}, err
}

// certify gives a machine a certificate; one that has a key keeps it.
func (s site) certify(machine cluster.Machine) (etcd.Files, error) {
	dir := filepath.Join(s.dir, string(machine))
	req, err := pki.NewRequest(dir, machine)
	if err != nil {
		return etcd.Files{}, err
	}
	pem, _, _, err := s.ca.Sign(req)
	if err != nil {
		return etcd.Files{}, err
	}
	cert, key, ca := pki.Paths(dir)
	return etcd.Files{Cert: cert, Key: key, CA: ca, ServerName: pki.HostName}, pki.Install(dir, pem, s.ca.CertPEM())
}

func (s site) files(t *testing.T, machine cluster.Machine) etcd.Files {
	t.Helper()
	files, err := s.certify(machine)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// ours is what every member and client of the tests has, but for those that try
// something else.
var ours etcd.Files

// TestMain has more tests run side by side than there are processors, unless -parallel
// says otherwise: they wait for elections and leases.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(withSite(m))
}

func withSite(m *testing.M) int {
	dir, err := os.MkdirTemp("", "etcd-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	s, err := newSite(dir, time.Now)
	if err == nil {
		ours, err = s.certify("m1")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
