package link

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/pki"
)

func TestGuestsAreServedOnlyWhereThereIsADesk(t *testing.T) {
	s := newSite(t)
	m1 := s.machine("m1")
	authority, err := m1.Issuer()
	if err != nil {
		t.Fatal(err)
	}
	hello := func(_ context.Context, nc net.Conn) { _, _ = io.WriteString(nc, "hello") }
	open, _ := start(t, ServerConfig{Identity: m1, Guest: hello, Raw: map[string]Handler{"echo": echoStream}}, "127.0.0.1:0")
	nc, err := Guest(t.Context(), open, authority)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if b, err := io.ReadAll(nc); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
	if st, err := dialer(s.machine("m2"), open).Raw(t.Context(), "m1", "echo", nil); err != nil {
		t.Errorf("a machine, beside the guests: %v", err)
	} else {
		st.Close()
	}
	closed, _ := start(t, ServerConfig{Identity: m1}, "127.0.0.1:0")
	if nc, err := Guest(t.Context(), closed, authority); err == nil {
		nc.Close()
		t.Error("a guest was let in where there is no desk")
	}
}

func TestGuestTalksToNoOtherCluster(t *testing.T) {
	other := newSite(t).machine("m1")
	addr, _ := start(t, ServerConfig{Identity: other, Guest: func(context.Context, net.Conn) {}}, "127.0.0.1:0")
	authority, err := newSite(t).machine("m1").Issuer()
	if err != nil {
		t.Fatal(err)
	}
	if nc, err := Guest(t.Context(), addr, authority); err == nil || !strings.Contains(err.Error(), "of another cluster") {
		t.Errorf("connected to %v, %v", nc, err)
	}
}

func TestRecheckEndsConnectionsToStrangers(t *testing.T) {
	s := newSite(t)
	addr, _ := start(t, ServerConfig{Identity: s.machine("m1"), Raw: map[string]Handler{"echo": echoStream}}, "127.0.0.1:0")
	d := dialer(s.machine("m2"), addr)
	var struck error
	d.Allowed = func(cluster.Machine, pki.KeyID) error { return struck }
	st, err := d.Raw(t.Context(), "m1", "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	d.Recheck()
	if _, err := io.ReadFull(st, make([]byte, 5)); err != nil {
		t.Fatalf("a member's connection was ended: %v", err)
	}
	struck = io.ErrClosedPipe
	d.Recheck()
	if _, err := io.ReadAll(st); err == nil {
		t.Error("the connection ended as if the other side had closed it")
	}
	if n := len(d.outgoing.open); n != 0 {
		t.Errorf("%d connections are remembered", n)
	}
}
