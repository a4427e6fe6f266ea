package imaptest

import (
	"net"
	"testing"
)

// UserOf is the user whose a dialogue's session is: of "9" info, which is no
// person, of "5" and above bob, else ann.
func UserOf(session string) string {
	switch {
	case session >= "9":
		return "info"
	case session >= "5":
		return "bob"
	}
	return "ann"
}

// Run plays the dialogue in a file. dial opens each of its sessions, "" the first,
// "2" and so on, already greeted and authenticated: see [UserOf].
func Run(t *testing.T, file string, dial func(name string) net.Conn) {
	t.Helper()
	steps, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	clients, names := map[string]*Client{}, Names{}
	defer func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}()
	for _, s := range steps {
		if s.Kind == Notes {
			continue
		}
		c := clients[s.Session]
		if c == nil {
			c = NewClient(t, dial(s.Session))
			clients[s.Session] = c
		}
		if s.Kind == Sends {
			c.Send(s.Octets(names))
			continue
		}
		got, err := c.receive()
		switch {
		case err != nil:
			t.Fatalf("%s:%d: \n got %s%v\nwant %s", file, s.Line, got, err, names.Fill(s.Text))
		case !names.Match(s.Text, got):
			t.Fatalf("%s:%d: \n got %s\nwant %s", file, s.Line, got, names.Fill(s.Text))
		}
	}
}
