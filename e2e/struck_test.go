package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/etcd"
	"github.com/tandemail/tandemail/internal/pki"
)

// intruder has the key and the certificate of a machine, and a connection open to
// each port where machines talk to each other.
type intruder struct {
	t      *testing.T
	at     *host
	config *tls.Config
	inside *tls.Conn    // the internal port
	coord  *etcd.Client // the coordinator's client port
}

// as opens the connections with that machine's files.
func (h *host) as(at *host) *intruder {
	t := h.site.t
	t.Helper()
	cert, key, ca := pki.Paths(filepath.Join(h.dir, "meta", "pki"))
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	i := &intruder{t: t, at: at, config: &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}}
	if i.inside, err = i.dial(at.addr("internal-port"), "tandemail-mux/1"); err != nil {
		t.Fatalf("a machine at the internal port: %v", err)
	}
	t.Cleanup(func() { i.inside.Close() })
	files := etcd.Files{Cert: cert, Key: key, CA: ca, ServerName: pki.HostName}
	if i.coord, err = etcd.Connect(etcd.Config{Endpoints: []string{"https://" + at.addr("member-port")}, TLS: files}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.coord.Close() })
	if err := i.ask(); err != nil {
		t.Fatalf("a machine at the coordinator: %v", err)
	}
	if c, err := i.dial(i.peerPort()); err != nil {
		t.Fatalf("a machine at the coordinator's peer port: %v", err)
	} else {
		c.Close()
	}
	return i
}

func (i *intruder) peerPort() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(i.at.ports["member-port"]+1))
}

func (i *intruder) ask() error {
	ctx, cancel := context.WithTimeout(i.t.Context(), 10*time.Second)
	defer cancel()
	_, _, err := i.coord.Get(ctx, coord.SettingsKey)
	return err
}

// dial connects and waits for a moment: in TLS 1.3 a client learns afterwards that it
// is refused.
func (i *intruder) dial(addr string, alpn ...string) (*tls.Conn, error) {
	config := i.config.Clone()
	config.NextProtos = alpn
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTime}, Config: config}
	nc, err := d.DialContext(i.t.Context(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := nc.(*tls.Conn)
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.Close()
		return nil, err
	}
	return c, c.SetReadDeadline(time.Time{})
}

// wantShutOut finds each connection of before ended, and no new one let in.
func (i *intruder) wantShutOut() {
	t := i.t
	t.Helper()
	_ = i.inside.SetReadDeadline(time.Now().Add(answerTime))
	if _, err := io.Copy(io.Discard, i.inside); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("its connection to the internal port goes on")
	}
	if err := i.ask(); !errors.Is(err, coord.ErrRefused) {
		t.Errorf("on its connection to the coordinator: %v", err)
	}
	if c, err := i.dial(i.at.addr("internal-port"), "tandemail-mux/1"); err == nil {
		c.Close()
		t.Error("it is let in at the internal port")
	}
	if c, err := i.dial(i.peerPort()); err == nil {
		c.Close()
		t.Error("it is let in at the coordinator's peer port")
	}
}
