package enrol

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/pki"
)

// office is a desk with a coordinator in memory.
type office struct {
	*Desk
	t   *testing.T
	now time.Time
	log bytes.Buffer
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return o.now }
	dir := filepath.Join(t.TempDir(), "pki")
	if _, err := pki.CreateCA(dir, "test", clock); err != nil {
		t.Fatal(err)
	}
	o.Desk = &Desk{
		Cluster: "test", Coord: memory.New(), Now: clock, Log: slog.New(slog.NewTextHandler(&o.log, nil)),
		CA: func() (*pki.CA, error) { return pki.LoadCA(dir, clock) },
		Members: func(context.Context) (Members, error) {
			return Members{Endpoints: []string{"https://m1"}, Room: true}, nil
		},
	}
	return o
}

// token makes one, good for an hour and one machine unless rec says more.
func (o *office) token(rec coord.TokenRecord) Token {
	o.t.Helper()
	rec.Uses = max(rec.Uses, 1)
	rec.Made, rec.Expires = o.now, o.now.Add(time.Hour)
	if rec.Roles == nil {
		rec.Roles = []string{"storage", "front", "control"}
	}
	token, err := Create(o.t.Context(), o.Coord, pki.KeyID{}, []string{"m1:7700"}, rec, rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	return token
}

// applicant is a host with a key.
func (o *office) applicant(name cluster.Machine) Request {
	o.t.Helper()
	csr, err := pki.NewRequest(filepath.Join(o.t.TempDir(), string(name)), name)
	if err != nil {
		o.t.Fatal(err)
	}
	return Request{Version: wireVersion, Machine: name, Zone: "z", Link: string(name) + ":7700", CSR: string(csr)}
}

// ask goes through Serve, as a host does.
func (o *office) ask(token Token, req Request) (Answer, error) {
	o.t.Helper()
	req.Secret = token.secret[:]
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		defer there.Close()
		o.Serve(context.Background(), there)
	}()
	if err := send(here, req); err != nil {
		o.t.Fatal(err)
	}
	var a Answer
	if err := receive(here, &a); err != nil {
		o.t.Fatal(err)
	}
	if a.Refused != "" {
		return a, errors.New(a.Refused)
	}
	return a, nil
}

func (o *office) machine(name cluster.Machine) coord.MachineRecord {
	o.t.Helper()
	b, rev, err := o.Coord.Get(o.t.Context(), coord.MachineKey(name))
	if err != nil || rev == 0 {
		o.t.Fatalf("record of %s: revision %d, %v", name, rev, err)
	}
	rec, err := coord.Decode[coord.MachineRecord](coord.KV{Value: b})
	if err != nil {
		o.t.Fatal(err)
	}
	return rec
}

func (o *office) wantRefused(token Token, req Request, why string) {
	o.t.Helper()
	if _, err := o.ask(token, req); err == nil || !strings.Contains(err.Error(), why) {
		o.t.Errorf("%s: got %v, want a refusal: %s", req.Machine, err, why)
	}
}

func TestTokenLetsAMachineInOnce(t *testing.T) {
	o := newOffice(t)
	token, m2 := o.token(coord.TokenRecord{}), o.applicant("m2")
	a, err := o.ask(token, m2)
	if err != nil || a.Cluster != "test" || !a.Member || a.CAKey == "" || len(a.Endpoints) != 1 || a.Certificate == "" {
		t.Fatalf("%+v, %v", a, err)
	}
	rec := o.machine("m2")
	if rec.Key == "" || !rec.Storage || !rec.Control || rec.Link != "m2:7700" || rec.Zone != "z" {
		t.Errorf("record %+v", rec)
	}
	o.wantRefused(token, o.applicant("m3"), "used already")
	if _, err := o.ask(token, m2); err != nil {
		t.Errorf("the same machine with the same key, whose answer was lost: %v", err)
	}
	o.wantRefused(token, o.applicant("m2"), "used already") // with another key
}

func TestTokenIsGoodForWhatItSays(t *testing.T) {
	o := newOffice(t)
	forged, err := NewToken(pki.KeyID{}, nil, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o.wantRefused(forged, o.applicant("m2"), "not known to the cluster")
	o.wantRefused(o.token(coord.TokenRecord{Machine: "m9"}), o.applicant("m2"), "for another machine")

	storage := o.token(coord.TokenRecord{Roles: []string{"storage"}})
	control := o.applicant("m2")
	control.Roles = []string{"storage", "control"}
	o.wantRefused(storage, control, `does not allow role "control"`)
	a, err := o.ask(storage, o.applicant("m2"))
	if err != nil || a.CAKey != "" || a.Member || o.machine("m2").Control {
		t.Errorf("a machine without control got %+v, %v", a, err)
	}

	other := o.applicant("m3")
	other.CSR = o.applicant("m4").CSR
	o.wantRefused(o.token(coord.TokenRecord{}), other, "not one of machine m3")
	taken := o.applicant("m3")
	taken.Link = "m2:7700"
	o.wantRefused(o.token(coord.TokenRecord{}), taken, "m2 is at m2:7700 already")

	late := o.token(coord.TokenRecord{})
	o.now = o.now.Add(time.Hour + time.Second)
	o.wantRefused(late, o.applicant("m3"), "has expired")
	o.token(coord.TokenRecord{})
	if _, rev, err := o.Coord.Get(t.Context(), coord.TokenKey(late.Hash())); err != nil || rev != 0 {
		t.Errorf("an expired token is still there: revision %d, %v", rev, err)
	}
}

func TestANameIsTakenOverOnlyWhenTheTokenSaysSo(t *testing.T) {
	o := newOffice(t)
	first := o.applicant("m2")
	if _, err := o.ask(o.token(coord.TokenRecord{}), first); err != nil {
		t.Fatal(err)
	}
	old := o.machine("m2").Key
	o.wantRefused(o.token(coord.TokenRecord{}), o.applicant("m2"), "there is a machine m2 already")
	if _, err := o.ask(o.token(coord.TokenRecord{Machine: "m2", Replace: true}), o.applicant("m2")); err != nil {
		t.Fatal(err)
	}
	if o.machine("m2").Key == old {
		t.Error("the record has the old key")
	}
	o.wantRefused(o.token(coord.TokenRecord{Machine: "m2", Replace: true}), first, "was struck")
}

func TestTwoAtOnceUseATokenOnce(t *testing.T) {
	o := newOffice(t)
	token := o.token(coord.TokenRecord{})
	errs := make(chan error, 2)
	for _, name := range []cluster.Machine{"m2", "m3"} {
		req := o.applicant(name)
		req.Secret = token.secret[:]
		go func() {
			_, err := o.admit(context.Background(), req)
			errs <- err
		}()
	}
	a, b := <-errs, <-errs
	if (a == nil) == (b == nil) {
		t.Errorf("%v and %v, want one let in", a, b)
	}
}

func TestNoSecretIsInTheLogOrTheRecord(t *testing.T) {
	o := newOffice(t)
	token := o.token(coord.TokenRecord{})
	secret, err := json.Marshal(token.secret[:])
	if err != nil {
		t.Fatal(err)
	}
	a, err := o.ask(token, o.applicant("m2"))
	if err != nil {
		t.Fatal(err)
	}
	o.wantRefused(token, o.applicant("m3"), "used already")
	b, _, err := o.Coord.Get(t.Context(), coord.TokenKey(token.Hash()))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{o.log.String(), string(b)} {
		if strings.Contains(text, strings.Trim(string(secret), `"=`)) || strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, a.CAKey) {
			t.Errorf("tells a secret: %s", text)
		}
	}
}
