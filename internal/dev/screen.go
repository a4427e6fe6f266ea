package dev

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
)

// printScreen says what runs, how to look at it, and what to try next. program is
// how the reader calls this program.
func printScreen(w io.Writer, l Layout, program string) error {
	m1, m2, u := l.Machines[0], l.Machines[1], l.Users[0]
	var b strings.Builder
	fmt.Fprintf(&b, "Tandemail: %d machines, every store on two of them, %d users. Ctrl-C ends it.\n\n", len(l.Machines), len(l.Users))
	for _, m := range l.Machines {
		fmt.Fprintf(&b, "  %-3s process %-7d imap %-16s pop3 %-16s lmtp %-16s http %s\n", m.Name, m.PID, m.IMAP, m.POP3, m.LMTP, m.HTTP)
	}
	host, port, _ := net.SplitHostPort(m1.IMAP)
	fmt.Fprintf(&b, "\n  user %s   password %s   (also %s ...)\n", u.User, u.Password, l.Users[1].User)
	fmt.Fprintf(&b, "\nTry, in another terminal:\n\n  export TANDEMAIL_DIR=%s\n", l.Dir)
	for _, line := range [][2]string{
		{program + " status", "every store, its copies, its problems"},
		{program + " bench lmtp --duration 5s", "deliver as fast as it goes"},
		{fmt.Sprintf("curl -s imap://%s:%s/INBOX -u %s:%s -X 'FETCH 1:* ENVELOPE'", host, port, u.User, u.Password), "read"},
		{program + " machine drain " + string(m1.Name), "switch every master off a machine; nobody notices"},
		{program + " machine undrain " + string(m1.Name), "let them return"},
		{fmt.Sprintf("kill -9 %d", m2.PID), "and look at the status again"},
		{program + " machine start " + string(m2.Name), "it comes back and catches up"},
		{program + " store digest", "both copies of every store are equal"},
	} {
		fmt.Fprintf(&b, "  %-86s # %s\n", line[0], line[1])
	}
	_, err := io.WriteString(w, b.String()+"\n")
	return err
}

// programName is what a reader types to call the program at path: `go run` puts it
// where nobody would look.
func programName(path string) string {
	if strings.Contains(path, "go-build") {
		return "go run ./cmd/tandemail"
	}
	return filepath.Base(path)
}
