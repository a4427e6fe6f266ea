package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/session"
)

// TestClientsOfOthersSpeakTheMechanisms under TLS: gsasl those of SCRAM, which it binds
// as it sees fit, and EXTERNAL; curl those with a token. .ci/run installs both.
func TestClientsOfOthersSpeakTheMechanisms(t *testing.T) {
	for _, program := range []string{"gsasl", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	server, _ := certificate(t)
	ca, user := userCertificate(t, "ann")
	server.ClientAuth, server.ClientCAs = tls.RequestClientCert, ca
	all := withAll(t, ca)
	r := newRig(t, func(c *Config) { all(c); c.TLS, c.PlaintextAuth, c.MaxFailures = server, false, 5 })
	dir := t.TempDir()
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(user.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	trust := file("server.pem", "CERTIFICATE", server.Certificates[0].Certificate[0])
	cert, keyFile := file("user.pem", "CERTIFICATE", user.Certificate[0]), file("user.key", "PRIVATE KEY", key)
	_ = r.dialTCP(session.IMAP).Close()
	_ = r.dialTCP(session.POP3).Close()
	imap, pop3 := r.tcp[session.IMAP].Addr().String(), r.tcp[session.POP3].Addr().String()
	gsasl := func(args ...string) []string { // the certificate has another name than the address
		return append([]string{"gsasl", "--imap", "--connect", imap, "--starttls", "--x509-ca-file", "", "--verbose", "-a", "ann"}, args...)
	}
	curl := func(scheme, address, token string) []string {
		_, port, _ := strings.Cut(address, ":")
		return []string{
			"curl", "-sS", "-v", "--ssl-reqd", "--cacert", trust, "--oauth2-bearer", token,
			"--connect-to", "mail.test:" + port + ":" + address, scheme + "://ann@mail.test:" + port + "/",
		}
	}
	for _, c := range []struct {
		name    string
		command []string
		fails   bool
		says    string
	}{
		{"SCRAM", gsasl("-m", "SCRAM-SHA-256", "-p", "secret", "--no-cb"), false, ""},
		{"SCRAM, wrong", gsasl("-m", "SCRAM-SHA-256", "-p", "wrong", "--no-cb"), true, "AUTHENTICATIONFAILED"},
		{"SCRAM, bound", gsasl("-m", "SCRAM-SHA-256-PLUS", "-p", "secret"), false, ""},
		{"PLAIN", gsasl("-m", "PLAIN", "-p", "secret"), false, ""},
		{"EXTERNAL", gsasl("-m", "EXTERNAL", "-z", "ann", "--x509-cert-file", cert, "--x509-key-file", keyFile), false, ""},
		{"token by IMAP", curl("imap", imap, "ann-token"), false, "AUTHENTICATE OAUTHBEARER"},
		{"token by POP3", curl("pop3", pop3, "ann-token"), false, "AUTH OAUTHBEARER"},
		{"a bad token by IMAP", curl("imap", imap, "other"), true, "AUTHENTICATIONFAILED"},
		{"a bad token by POP3", curl("pop3", pop3, "other"), true, "[AUTH]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, c.command[0], c.command[1:]...).CombinedOutput()
			if (err != nil) != c.fails || !strings.Contains(string(out), c.says) {
				t.Errorf("%v, want %q in\n%s", err, c.says, out)
			}
		})
	}
	if n := r.server.Stats().Mechanisms; n["SCRAM-SHA-256"] != 1 || n["SCRAM-SHA-256-PLUS"] != 1 || n["EXTERNAL"] != 1 || n["OAUTHBEARER"] != 2 {
		t.Errorf("log-ins: %v", n)
	}
}
