package bench

import (
	"net"
	"strings"
	"testing"
)

func TestMixIsRunAndLiteralsArePassedOver(t *testing.T) {
	// A body that looks like the end of the command must not be taken for it.
	content := "b1 OK\r\nb2 OK\r\n* BYE\r\n{10}\r\n"
	addr := listen(t, func(nc net.Conn) { serveIMAP(nc, 0, content, "") })
	r, err := RunIMAP(t.Context(), IMAPConfig{
		Addresses: []string{addr}, Users: []Login{{"a@x", `p"\`}}, Connections: 3, Operations: 600, Size: 100,
	})
	if err != nil || r.Failed() != 0 || r.Count() != 600 {
		t.Fatalf("%d done, %d failed, %v", r.Count(), r.Failed(), err)
	}
	for _, o := range r.Operations {
		if o.Count == 0 {
			t.Errorf("no %s was done", o.Name)
		}
		if o.Name == "fetch" && o.Octets != o.Count*int64(len(content)) {
			t.Errorf("%d fetches brought %d octets", o.Count, o.Octets)
		}
	}
}

func TestRefusedCommandIsCountedAndTheSessionGoesOn(t *testing.T) {
	addr := listen(t, func(nc net.Conn) { serveIMAP(nc, 3, "x", "STORE") })
	r, err := RunIMAP(t.Context(), IMAPConfig{
		Addresses: []string{addr}, Users: []Login{{"a@x", "p"}}, Operations: 50, Mix: Mix{Store: 1},
	})
	if err != nil || r.Operations[opStore].Errors["NO OVERQUOTA"] != 49 || r.Operations[opLogin].Count != 1 {
		t.Fatalf("report %+v, %v", r.Operations, err)
	}
}

func TestRefusedLoginIsAnErrorThatNamesTheUser(t *testing.T) {
	addr := listen(t, func(nc net.Conn) { serveIMAP(nc, 3, "x", "LOGIN") })
	_, err := RunIMAP(t.Context(), IMAPConfig{Addresses: []string{addr}, Users: []Login{{"a@x", "p"}}, Operations: 2})
	if err == nil || !strings.Contains(err.Error(), "a@x") || !strings.Contains(err.Error(), "OVERQUOTA") {
		t.Fatalf("got %v", err)
	}
}

func TestLineLongerThanTheBufferKeepsItsLiteral(t *testing.T) {
	long := "* 1 FETCH (X " + strings.Repeat("y", 100_000) + " BODY[] {3}\r\nb1 OK\r\nabc)\r\n"
	addr := listen(t, func(nc net.Conn) {
		_, _ = nc.Write([]byte("* OK\r\n"))
		buf := make([]byte, 100)
		if _, err := nc.Read(buf); err != nil {
			return
		}
		_, _ = nc.Write([]byte(strings.Replace(long, "{3}\r\nb1 OK\r\nabc", "{10}\r\nb1 OK\r\nabc", 1) + "b1 OK\r\n"))
	})
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c, err := newIMAPClient(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.do("FETCH 1 X"); err != nil || c.octets != 10 {
		t.Fatalf("%d octets, %v", c.octets, err)
	}
}
