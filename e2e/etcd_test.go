package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdConfig, in the environment, makes the test's program a member of an etcd of the
// site's own, as etcd's own program reads that file.
const etcdConfig = "TANDEMAIL_E2E_ETCD"

// runEtcd is that program.
func runEtcd(path string) error {
	cfg, err := embed.ConfigFromFile(path)
	if err != nil {
		return err
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	select {
	case <-stop:
		e.Close()
		return nil
	case err := <-e.Err():
		return err
	}
}

// siteEtcd is an etcd of the site's own, with a CA of its own.
type siteEtcd struct {
	dir       string
	endpoints []string
	members   []*exec.Cmd
	ca        *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newSiteEtcd(t *testing.T, members int) *siteEtcd {
	t.Helper()
	e := &siteEtcd{dir: t.TempDir()}
	e.makeCA(t)
	port := freePorts(t, 2*members)
	var initial []string
	for i := range members {
		e.endpoints = append(e.endpoints, fmt.Sprintf("https://127.0.0.1:%d", port+2*i))
		initial = append(initial, fmt.Sprintf("e%d=https://127.0.0.1:%d", i, port+2*i+1))
	}
	for i := range members {
		name := fmt.Sprintf("e%d", i)
		cert, key := e.certify(t, name)
		tls := map[string]any{"cert-file": cert, "key-file": key, "client-cert-auth": true, "trusted-ca-file": e.path("ca.pem")}
		_, peer, _ := strings.Cut(initial[i], "=")
		cfg, err := json.Marshal(map[string]any{ // JSON is YAML
			"name": name, "data-dir": e.path(name), "log-level": "warn", "initial-cluster": strings.Join(initial, ","),
			"listen-client-urls": e.endpoints[i], "advertise-client-urls": e.endpoints[i],
			"listen-peer-urls": peer, "initial-advertise-peer-urls": peer,
			"client-transport-security": tls, "peer-transport-security": tls,
		})
		if err == nil {
			err = os.WriteFile(e.path(name+".yaml"), cfg, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		e.members = append(e.members, nil)
		e.start(t, i)
		t.Cleanup(func() { e.kill(i) })
	}
	return e
}

func (e *siteEtcd) path(name string) string { return filepath.Join(e.dir, name) }

func (e *siteEtcd) start(t *testing.T, i int) {
	t.Helper()
	log, err := os.OpenFile(e.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), etcdConfig+"="+e.path(fmt.Sprintf("e%d.yaml", i)))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e.members[i] = cmd
}

// kill ends a member at once, if it runs.
func (e *siteEtcd) kill(i int) {
	if cmd := e.members[i]; cmd != nil {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed
		e.members[i] = nil
	}
}

func (e *siteEtcd) makeCA(t *testing.T) {
	t.Helper()
	var err error
	if e.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	e.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the site's own"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	e.sign(t, "ca", e.ca, e.key)
}

// certify makes a certificate, for a member or a machine.
func (e *siteEtcd) certify(t *testing.T, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e.sign(t, name, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, k)
	return e.path(name + ".pem"), e.path(name + ".key")
}

func (e *siteEtcd) sign(t *testing.T, name string, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, e.ca, &key.PublicKey, e.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{e.path(name + ".pem"): {Type: "CERTIFICATE", Bytes: der}, e.path(name + ".key"): {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// flags are those of a host that is to use it.
func (e *siteEtcd) flags(t *testing.T, name string) []string {
	cert, key := e.certify(t, name)
	return []string{"--etcd-ca", e.path("ca.pem"), "--etcd-certificate", cert, "--etcd-key", key}
}

// TestClusterOnAnEtcdOfTheSitesOwn runs two machines on three members that are no
// machines: the loss of a machine, and of a member, is survived, and without a quorum
// the pair goes on.
func TestClusterOnAnEtcdOfTheSitesOwn(t *testing.T) {
	needDev(t)
	e := newSiteEtcd(t, 3)
	s := newSite(t, "m1", "m2")
	m1, m2 := s.hosts["m1"], s.hosts["m2"]
	init := append([]string{"--etcd", strings.Join(e.endpoints, ",")}, e.flags(t, "m1")...)
	ctx, cancel := context.WithTimeout(t.Context(), readyTime)
	defer cancel()
	for { // until it has elected a leader
		_, err := output(ctx, m1.program(append(append([]string{"init"}, m1.flags()...), init...)...))
		if err == nil {
			break
		}
		if !pause(ctx, 200*time.Millisecond) {
			log, _ := os.ReadFile(e.path("log"))
			t.Fatalf("%v\n%s", err, log)
		}
	}
	m1.serve()
	if err := m2.join(m1.token(), e.flags(t, "m2")...); err != nil {
		t.Fatal(err)
	}
	m2.serve()
	m1.until(func(s status) string { return up(s, 2) })
	m1.must("store", "create")
	m1.settle(2)
	bag := newMailbag(user{"a@example.test", "secret"}, user{"b@example.test", "secret"})
	for _, u := range bag.users {
		m1.addUser(u, m1, m2)
	}
	bag.flows(t, m1, m2)

	m1.end(syscall.SIGKILL)
	t.Logf("machine lost: mail held %.1f s", bag.flows(t, m2).Seconds())
	bag.reads(t, m2)
	m2.says(problem{Code: "machine-dead", Severity: "critical", Machine: "m1"})
	m1.serve()
	m1.settle(2)

	e.kill(0)
	bag.flows(t, m1, m2)
	m1.must("user", "add", "c@example.test", "--password", "secret")
	e.kill(1) // and with it the quorum
	bag.atOnce(t, m1, m2)
	bag.reads(t, m1, m2)
	m1.says(problem{Code: "coordinator-stale", Severity: "critical"})
	e.start(t, 0)
	e.start(t, 1)
	m1.settle(2)
	m1.must("user", "add", "d@example.test", "--password", "secret")
	bag.flows(t, m1, m2)
	bag.reads(t, m1, m2)
}
