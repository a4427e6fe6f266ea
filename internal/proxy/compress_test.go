package proxy

import (
	"compress/flate"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
	"github.com/tandemail/tandemail/internal/session"
)

// deflated is a client's side of COMPRESS, by the standard library.
type deflated struct {
	net.Conn
	r interface{ Read([]byte) (int, error) }
	w *flate.Writer
}

func (d *deflated) Read(p []byte) (int, error) { return d.r.Read(p) }

func (d *deflated) Write(p []byte) (int, error) {
	if _, err := d.w.Write(p); err != nil {
		return 0, err
	}
	return len(p), d.w.Flush()
}

func TestCompress(t *testing.T) {
	r := newRig(t, nil)
	nc := r.dialTCP(session.IMAP)
	c := imaptest.NewClient(t, nc)
	c.Line()
	c.OK("LOGIN ann secret")
	for command, want := range map[string]string{
		"COMPRESS":      "BAD COMPRESS takes a mechanism",
		"COMPRESS GZIP": "NO [CANNOT] Mechanism is not supported",
	} {
		if _, tagged := c.Command("%s", command); tagged != want {
			t.Errorf("%s: %s", command, tagged)
		}
	}
	if got := c.OK("CAPABILITY"); !strings.HasSuffix(got[0], " COMPRESS=DEFLATE UNAUTHENTICATE") {
		t.Error(got)
	}
	c.OK("COMPRESS DEFLATE")
	w, err := flate.NewWriter(nc, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	z := imaptest.NewClient(t, &deflated{nc, flate.NewReader(nc), w})
	defer z.Close()
	if _, tagged := z.Command("COMPRESS DEFLATE"); tagged != "NO [COMPRESSIONACTIVE] DEFLATE is already active" {
		t.Error(tagged)
	}
	if got := z.OK("CAPABILITY"); strings.Contains(got[0], "COMPRESS") || strings.Contains(got[0], "UNAUTHENTICATE") {
		t.Error(got)
	}
	if _, tagged := z.Command("UNAUTHENTICATE"); tagged != "NO [CANNOT] Not possible on a compressed connection" {
		t.Error(tagged)
	}
	body := strings.Repeat("hello\r\n", 50_000)
	z.Send(fmt.Sprintf("a APPEND INBOX {%d+}\r\n%s\r\n", len(body), body))
	if got := z.Line(); !strings.HasPrefix(got, "a OK") {
		t.Fatal(got)
	}
	z.OK("SELECT INBOX")
	r.appoint("m2") // the front end's compression outlives a master
	if got := z.OK("FETCH 1 BODY.PEEK[]"); len(strings.Join(got, "\r\n")) < len(body) {
		t.Errorf("%d lines", len(got))
	}
}
