package etcd

import (
	"crypto/tls"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// A CA alone is enough for an etcd of the site's own that asks for no certificate;
// its members are known by their hosts.
func TestCAAloneKnowsMembersByTheirHosts(t *testing.T) {
	srv := httptest.NewTLSServer(nil) // its certificate names 127.0.0.1
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, b, 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := Files{CA: ca}.client()
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", srv.Listener.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	config.ServerName = "localhost"
	if c, err := tls.Dial("tcp", srv.Listener.Addr().String(), config); err == nil {
		c.Close()
		t.Error("took 127.0.0.1 for localhost")
	}
}
