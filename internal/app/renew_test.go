package app

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/pki"
)

// certified gives the rig's machine a certificate that is so old, and the CA.
func certified(t *testing.T, r *rig, age time.Duration) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	ca, err := pki.CreateCA(dir, "test", func() time.Time { return time.Now().Add(-age) })
	if err != nil {
		t.Fatal(err)
	}
	r.cfg.PKI.Dir, r.cfg.Roles = dir, []string{config.RoleControl}
	csr := request(t, dir, "m1")
	cert, _, _, err := ca.Sign(csr)
	if err != nil {
		t.Fatal(err)
	}
	if err := pki.Install(dir, cert, ca.CertPEM()); err != nil {
		t.Fatal(err)
	}
	if r.identity, err = pki.Load(dir); err != nil {
		t.Fatal(err)
	}
}

func request(t *testing.T, dir string, name cluster.Machine) []byte {
	t.Helper()
	csr, err := pki.NewRequest(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func TestACertificateIsRenewedEveryHalfYear(t *testing.T) {
	for age, renewed := range map[time.Duration]bool{24 * time.Hour: false, 200 * 24 * time.Hour: true, 400 * 24 * time.Hour: true} {
		r := newRig(t)
		certified(t, r, age)
		before := r.identity.RenewBy()
		if err := r.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		after, err := pki.Load(r.cfg.PKI.Dir)
		if err != nil || after.Key != r.identity.Key || after.RenewBy().After(before) != renewed {
			t.Errorf("after %v: %v became %v (%v)", age, before, after.RenewBy(), err)
		}
		if rec, there := r.machineRecord("m1"); renewed && (!there || !rec.CertificateEnds.Equal(after.RenewBy())) {
			t.Errorf("after %v: record %+v", age, rec)
		}
	}
}

func TestAMachineGetsACertificateForItsOwnKeyOnly(t *testing.T) {
	r := newRig(t)
	certified(t, r, 0)
	dir := filepath.Join(t.TempDir(), "m2")
	csr := request(t, dir, "m2")
	_, _, key, err := loadCA(t, r).Sign(csr)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(peer link.Peer) controlAnswer {
		req, err := json.Marshal(controlRequest{Method: "renew", CSR: string(csr)})
		if err != nil {
			t.Fatal(err)
		}
		b, ok := r.answerControl(t.Context(), peer, req)
		var answer controlAnswer
		if err := json.Unmarshal(b, &answer); err != nil || !ok {
			t.Fatalf("answered %q, %v", b, err)
		}
		return answer
	}
	if a := ask(link.Peer{Machine: "m2", Key: key}); a.Certificate == "" || a.Error != "" {
		t.Errorf("m2 with its key: %+v", a)
	}
	for _, peer := range []link.Peer{{Machine: "m3", Key: key}, {Machine: "m2", Key: pki.KeyID{1}}} {
		if a := ask(peer); a.Certificate != "" || !strings.Contains(a.Error, "another key") {
			t.Errorf("%+v: %+v", peer, a)
		}
	}
}

func loadCA(t *testing.T, r *rig) *pki.CA {
	t.Helper()
	ca, err := pki.LoadCA(r.cfg.PKI.Dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}
