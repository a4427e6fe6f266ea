package etcd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/etcd"
	"github.com/tandemail/tandemail/internal/pki"
)

// lines is a log as text.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default:
	}
	return len(b), nil
}

// await reads on to a line that has all parts.
func (l lines) await(t *testing.T, parts ...string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
next:
	for {
		select {
		case line := <-l:
			for _, p := range parts {
				if !strings.Contains(line, p) {
					continue next
				}
			}
			return
		case <-timeout:
			t.Fatalf("no line of log with %q", parts)
		}
	}
}

// longAgo: what is signed then should have been renewed decades ago.
func longAgo() time.Time { return time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC) }

// past is s at that time.
func (s site) past(t *testing.T) site {
	t.Helper()
	ca, err := pki.LoadCA(filepath.Join(s.dir, "ca"), longAgo)
	if err != nil {
		t.Fatal(err)
	}
	return site{s.dir, ca}
}

func makeSite(t *testing.T) site {
	t.Helper()
	s, err := newSite(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func pair(t *testing.T, f etcd.Files) []tls.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{p}
}

// dial shakes hands with whoever serves rawURL and waits for a word from there; in
// TLS 1.3 a client learns only then that it was refused.
func dial(t *testing.T, rawURL string, config *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", u.Host, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = c.Write([]byte("GET /version HTTP/1.0\r\n\r\n"))
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	return c.ConnectionState(), err
}

func TestOnlyMachinesOfTheClusterAreLetIn(t *testing.T) {
	t.Parallel()
	s, log := makeSite(t), make(lines, 1024)
	cfg := etcd.MemberConfig{
		Name: "m1", Dir: filepath.Join(t.TempDir(), "etcd"), ClientURL: freeURL(t), PeerURL: freeURL(t),
		TLS: s.files(t, "m1"), Quick: true, Unsafe: true, Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	struck := pair(t, s.files(t, "m3"))
	key, err := pki.KeyOf(struck[0].Leaf)
	if err == nil {
		err = pki.WriteStruck(s.dir, []pki.KeyID{key}, time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg.TLS.Revoked = pki.StruckPath(s.dir)
	startAll(t, cfg)
	mate := &tls.Config{InsecureSkipVerify: true, Certificates: pair(t, s.past(t).files(t, "m2"))} // renewed long ago
	ports := map[string]string{"coordinator client refused": cfg.ClientURL, "coordinator peer refused": cfg.PeerURL}
	for _, rawURL := range ports {
		if cs, err := dial(t, rawURL, mate); err != nil || cs.Version != tls.VersionTLS13 {
			t.Fatalf("a machine of the cluster: %v, %x", err, cs.Version)
		}
	}
	nobody, stranger, old, removed := mate.Clone(), mate.Clone(), mate.Clone(), mate.Clone()
	nobody.Certificates = nil
	stranger.Certificates = pair(t, makeSite(t).files(t, "m2"))
	removed.Certificates = struck
	old.MaxVersion = tls.VersionTLS12
	for _, tc := range []struct {
		name   string
		config *tls.Config
		why    string
	}{
		{"no certificate", nobody, "client didn't provide a certificate"},
		{"another CA's", stranger, "certificate signed by unknown authority"},
		{"TLS 1.2", old, "client offered only unsupported versions"},
	} {
		for message, rawURL := range ports {
			if _, err := dial(t, rawURL, tc.config); err == nil {
				t.Errorf("%s: let in at %s", tc.name, rawURL)
			}
			log.await(t, "level=WARN", message, "remote=127.0.0.1:", tc.why)
		}
	}
	if _, err := dial(t, cfg.PeerURL, removed); err == nil {
		t.Error("a machine whose key was struck is let in at the peer port")
	}
	log.await(t, "level=WARN", "coordinator peer refused", "revoked")
}

// TestMembersAndClientsOfOneCAMeetByName: the certificates name no address.
func TestMembersAndClientsOfOneCAMeetByName(t *testing.T) {
	t.Parallel()
	cfgs := trio(t)[:2]
	delete(cfgs[0].InitialCluster, "m3")
	cfgs[1].InitialCluster = maps.Clone(cfgs[0].InitialCluster)
	startAll(t, cfgs...) // a quorum of two: they have met
	get := func(files etcd.Files) error {
		c, err := etcd.Connect(etcd.Config{Endpoints: []string{cfgs[0].ClientURL}, TLS: files})
		if err != nil {
			return err
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, _, err = c.Get(ctx, "k")
		return err
	}
	if err := get(ours); err != nil {
		t.Fatal(err)
	}
	elsewhere, byHost, suspicious := ours, ours, ours
	elsewhere.ServerName, byHost.ServerName, suspicious.CA = "elsewhere", "", makeSite(t).files(t, "m1").CA
	for name, files := range map[string]etcd.Files{"another name": elsewhere, "the host's": byHost, "another CA": suspicious} {
		if err := get(files); !errors.Is(err, coord.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// wantRefusal reads until the error has the reason: mostly it has, but sometimes
// writing fails before the members' answer arrives.
func wantRefusal(t *testing.T, c *etcd.Client, reason string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, _, err := c.Get(ctx, "k")
		cancel()
		if errors.Is(err, coord.ErrUnavailable) && strings.Contains(err.Error(), reason) {
			return
		}
		if err == nil || time.Now().After(deadline) {
			t.Fatalf("read: %v, want %q", err, reason)
		}
	}
}

// fromElsewhere gives a machine a certificate that the others do not believe, and
// lets it believe theirs.
func (s site) fromElsewhere(t *testing.T, machine cluster.Machine) etcd.Files {
	t.Helper()
	files, other := s.files(t, machine), makeSite(t)
	dir := filepath.Dir(files.Cert)
	req, err := pki.NewRequest(dir, machine)
	if err != nil {
		t.Fatal(err)
	}
	cert, _, _, err := other.ca.Sign(req)
	if err == nil {
		err = pki.Install(dir, cert, slices.Concat(s.ca.CertPEM(), other.ca.CertPEM()))
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestRenewedCertificatesAreTakenUp by what runs: a client and a member whose
// certificates the others do not believe, and a member in service.
func TestRenewedCertificatesAreTakenUp(t *testing.T) {
	t.Parallel()
	s, cfgs, log := makeSite(t), trio(t), make(lines, 1024)
	files := s.fromElsewhere(t, "m3")
	for i := range cfgs {
		cfgs[i].TLS = s.files(t, "m1")
	}
	cfgs[2].TLS, cfgs[2].Log = files, slog.New(slog.NewTextHandler(log, nil))
	startAll(t, cfgs[:2]...)
	m3 := start(t, cfgs[2])
	log.await(t, "waits for the others", "m1 refused (remote error: tls: unknown certificate authority)")
	c, err := etcd.Connect(etcd.Config{Endpoints: []string{cfgs[0].ClientURL}, TLS: files})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantRefusal(t, c, "unknown certificate authority")

	s.files(t, "m3")
	await(t, m3)
	if _, _, err := c.Get(t.Context(), "k"); err != nil {
		t.Errorf("with a renewed certificate: %v", err)
	}
	config := &tls.Config{InsecureSkipVerify: true, Certificates: pair(t, files)}
	before, err := dial(t, cfgs[2].PeerURL, config)
	if err != nil {
		t.Fatal(err)
	}
	s.files(t, "m3")
	for _, rawURL := range []string{cfgs[2].PeerURL, cfgs[2].ClientURL} {
		after, err := dial(t, rawURL, config)
		if err != nil || after.PeerCertificates[0].Equal(before.PeerCertificates[0]) {
			t.Errorf("%s still shows the old certificate, or none: %v", rawURL, err)
		}
	}
}
