package app

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/pki"
	"github.com/tandemail/tandemail/internal/route"
)

// fleet is machines with files of their own, a coordinator in memory, and calls for a
// network. m1 and m2 have the CA's key, m3 has not.
type fleet struct {
	t        *testing.T
	mem      *memory.Client
	machines map[cluster.Machine]*machine
	off      map[cluster.Machine]bool
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, mem: memory.New(), machines: map[cluster.Machine]*machine{}, off: map[cluster.Machine]bool{}}
	ca, err := pki.CreateCA(filepath.Join(t.TempDir(), "ca"), "test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []cluster.Machine{"m1", "m2", "m3"} {
		m := &machine{
			cfg: &config.Config{Cluster: "test", Machine: string(name)}, name: name, log: slog.New(slog.DiscardHandler),
			coord: f.mem, routes: route.New(), stepping: make(chan struct{}, 1),
		}
		m.cfg.PKI.Dir = filepath.Join(t.TempDir(), "pki")
		m.cfg.Control = config.Control{CA: "ca.pem"} // no member here
		cert, _, _, err := ca.Sign(request(t, m.cfg.PKI.Dir, name))
		if err == nil {
			err = pki.Install(m.cfg.PKI.Dir, cert, ca.CertPEM())
		}
		if err == nil && name != "m3" {
			m.cfg.Roles = []string{config.RoleControl}
			err = pki.InstallCA(m.cfg.PKI.Dir, key)
		}
		if err == nil {
			m.identity, err = pki.Load(m.cfg.PKI.Dir)
		}
		if err == nil {
			err = m.putMachine(t.Context(), func(*coord.MachineRecord) {})
		}
		if err != nil {
			t.Fatal(err)
		}
		m.remote = &agent.Remote{Call: func(ctx context.Context, to cluster.Machine, req []byte) ([]byte, error) {
			if f.off[to] {
				return nil, errSilent
			}
			answer, _ := f.machines[to].answerControl(ctx, link.Peer{Machine: name, Key: m.identity.Key}, req)
			return answer, nil
		}}
		f.machines[name] = m
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { _ = m.routes.Run(ctx, f.mem); close(ended) }()
		t.Cleanup(func() { cancel(); <-ended })
	}
	for _, m := range f.machines {
		if err := m.routes.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// rotate asks machine name for the next stage.
func (f *fleet) rotate(name cluster.Machine, without ...cluster.Machine) api.RotateReport {
	f.t.Helper()
	r, err := (&backend{f.machines[name]}).RotateCA(f.t.Context(), api.RotateRequest{By: "test", Without: without})
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// wantOneCA checks that the machines believe one CA, other than before, and are
// certified by it.
func (f *fleet) wantOneCA(before string, names ...cluster.Machine) {
	f.t.Helper()
	p, err := (&backend{f.machines[names[0]]}).PKI(f.t.Context())
	if err != nil || len(p.Problems) > 0 && !f.off["m3"] {
		f.t.Errorf("problems %+v, %v", p.Problems, err)
	}
	ca := p.Authorities[0].Key
	for _, m := range p.Machines {
		issues := ""
		if m.Machine != "m3" {
			issues = ca
		}
		if slices.Contains(names, m.Machine) && (len(m.Trust) != 1 || m.Issuer != ca || m.Issues != issues || m.Key != m.Listed || m.Next != "") {
			f.t.Errorf("%+v", m)
		}
	}
	if ca == before {
		f.t.Error("it is the old one")
	}
}

func (f *fleet) ca() string {
	f.t.Helper()
	key, err := f.machines["m1"].identity.Issuer()
	if err != nil {
		f.t.Fatal(err)
	}
	return key.String()
}

// TestTheCAIsReplacedByWhoeverIsAskedNext: each stage is asked of another machine, as
// after an interruption.
func TestTheCAIsReplacedByWhoeverIsAskedNext(t *testing.T) {
	f := newFleet(t)
	before := f.ca()
	m1 := &backend{f.machines["m1"]}
	if _, err := m1.CreateToken(t.Context(), api.TokenRequest{}); err != nil {
		t.Fatal(err)
	}
	plan, err := m1.RotateCA(t.Context(), api.RotateRequest{PlanOnly: true})
	if err != nil || plan.Tokens != 1 || plan.Rotation.New != "" || len(plan.Steps) != 3 || plan.Steps[2].Machine != "m3" {
		t.Fatalf("plan %+v, %v", plan, err)
	}
	if _, rev, _ := m1.rotation(t.Context()); rev != 0 {
		t.Error("a plan has begun something")
	}
	_, err = (&backend{f.machines["m3"]}).RotateCA(t.Context(), api.RotateRequest{})
	wantError(t, err, http.StatusConflict, "machine m3 has not the CA's key")

	if r := f.rotate("m1"); r.Rotation.Stage != "renew" || r.Rotation.Old != before {
		t.Errorf("after the first stage: %+v", r)
	}
	_, err = m1.CreateToken(t.Context(), api.TokenRequest{})
	wantError(t, err, http.StatusConflict, "the cluster's CA is being replaced")
	if list, err := m1.Tokens(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("tokens %+v, %v", list, err)
	}
	if p, err := m1.PKI(t.Context()); err != nil || p.Rotation == nil || len(p.Authorities) != 2 || len(p.Problems) != 1 || p.Problems[0].Code != "ca-rotation" {
		t.Errorf("meanwhile: %+v, %v", p, err)
	}
	if r := f.rotate("m2"); r.Rotation.Stage != "forget" {
		t.Errorf("after the second stage: %+v", r)
	}
	if r := f.rotate("m3"); !r.Done {
		t.Errorf("after the last stage: %+v", r)
	}
	f.wantOneCA(before, "m1", "m2", "m3")
	if _, err := m1.CreateToken(t.Context(), api.TokenRequest{}); err != nil {
		t.Error(err)
	}
	second := f.ca()
	for range 3 {
		f.rotate("m2")
	}
	f.wantOneCA(second, "m1", "m2", "m3")
}

func TestAMachineThatIsOffIsWaitedFor(t *testing.T) {
	f := newFleet(t)
	before := f.ca()
	f.off["m3"] = true
	for range 2 {
		if r := f.rotate("m1"); r.Rotation.Stage != "believe" || !slices.Equal(r.Waiting, []cluster.Machine{"m3"}) {
			t.Fatalf("%+v", r)
		}
	}
	f.off["m3"] = false
	if err := f.machines["m3"].keepStep(t.Context()); err != nil { // as it starts
		t.Fatal(err)
	}
	if r := f.rotate("m1"); r.Rotation.Stage != "renew" {
		t.Errorf("%+v", r)
	}
	f.rotate("m1")
	f.off["m3"] = true
	if r := f.rotate("m2"); r.Done || len(r.Waiting) != 1 {
		t.Errorf("%+v", r)
	}
	f.off["m3"] = false
	if r := f.rotate("m2"); !r.Done {
		t.Errorf("%+v", r)
	}
	f.wantOneCA(before, "m1", "m2", "m3")
}

func TestAMachineThatIsLeftOutIsAStranger(t *testing.T) {
	f := newFleet(t)
	before := f.ca()
	_, err := (&backend{f.machines["m1"]}).RotateCA(t.Context(), api.RotateRequest{Without: []cluster.Machine{"m3"}})
	wantError(t, err, http.StatusConflict, "machine m3 answers: it need not be left out")
	f.off["m3"] = true
	f.rotate("m1", "m3")
	f.rotate("m1")
	if r := f.rotate("m1"); !r.Done || !slices.Equal(r.Rotation.Without, []cluster.Machine{"m3"}) {
		t.Errorf("%+v", r)
	}
	f.wantOneCA(before, "m1", "m2")
	if err := f.machines["m3"].keepStep(t.Context()); err == nil || !strings.Contains(err.Error(), "has to join again") {
		t.Errorf("its step: %v", err)
	}
	if trust, err := f.machines["m3"].identity.Trust(); err != nil || trust[0].Key.String() != before {
		t.Errorf("it believes %v, %v", trust, err)
	}
}

// TestWithoutTheNewCAsKeyTheChangeBeginsAgain: its only holder is gone in the first stage.
func TestWithoutTheNewCAsKeyTheChangeBeginsAgain(t *testing.T) {
	f := newFleet(t)
	before := f.ca()
	f.off["m2"], f.off["m3"] = true, true
	lost := f.rotate("m1").Rotation.New
	f.off["m1"], f.off["m2"], f.off["m3"] = true, false, false
	r := f.rotate("m2")
	if r.Rotation.New == lost || r.Rotation.Stage != "believe" {
		t.Fatalf("%+v", r)
	}
	f.off["m1"] = false
	for range 3 {
		r = f.rotate("m1")
	}
	if !r.Done {
		t.Errorf("%+v", r)
	}
	f.wantOneCA(before, "m1", "m2", "m3")
}
