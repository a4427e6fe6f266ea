package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const poplibScript = `
import poplib, json, sys
host, port, user, password = sys.argv[1:]
c = poplib.POP3(host, int(port))
c.utf8()
c.user(user); c.pass_(password)
print(json.dumps({
  'stat': c.stat()[0],
  'list': len(c.list()[1]),
  'uidl': [l.decode().split()[1] for l in c.uidl()[1]],
  'retr': b'\n'.join(c.retr(2)[1]).decode().split('\n\n')[1],
  'top': b'\n'.join(c.top(2, 0)[1]).decode().endswith('\n'),
  'dele': c.dele(1).decode(),
}))
c.quit()
`

func TestPoplib(t *testing.T) {
	need(t, "python3")
	a := newAccount(t)
	a.deliver(3)
	session := func() (got struct {
		Stat, List int
		UIDL       []string
		Retr, Dele string
	},
	) {
		out := a.run("python3", "-c", poplibScript, a.pop3Host, a.pop3Port, a.user, a.password)
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return got
	}
	first, second := session(), session()
	if first.Stat != 3 || first.List != 3 || first.Retr != "Text 2\n.dot" || second.Stat != 2 {
		t.Errorf("sessions: %+v, %+v", first, second)
	}
	if strings.Join(first.UIDL[1:], " ") != strings.Join(second.UIDL, " ") {
		t.Errorf("ids of messages changed: %v, %v", first.UIDL, second.UIDL)
	}
}

// fetched counts the messages in the client's mbox.
func (a *account) fetched() int {
	a.t.Helper()
	mbox, err := os.ReadFile(filepath.Join(a.dir, "mbox"))
	if err != nil {
		a.t.Fatal(err)
	}
	return strings.Count(string(mbox), "\nSubject: message ")
}

const getmailrc = `[retriever]
type = {type}
server = {host}
port = {port}
username = {user}
password = {password}

[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat >> {dir}/mbox")
allow_root_commands = true

[options]
delete = {delete}
read_all = false
delivered_to = false
received = false
`

// TestGetmail: what was fetched is not fetched again, and is removed when asked.
func TestGetmail(t *testing.T) {
	need(t, "getmail")
	for kind, delete := range map[string]string{"SimplePOP3Retriever": "true", "SimpleIMAPRetriever": "false"} {
		t.Run(kind, func(t *testing.T) {
			a := newAccount(t)
			a.deliver(3)
			host, port := a.pop3Host, a.pop3Port
			if strings.Contains(kind, "IMAP") {
				host, port = a.imapHost, a.imapPort
			}
			rc := a.path("getmailrc", a.fill(strings.NewReplacer("{type}", kind, "{host}", host, "{port}", port, "{delete}", delete).Replace(getmailrc)))
			for range 2 {
				a.run("getmail", "--getmaildir", a.dir, "--rcfile", rc)
			}
			if n := a.fetched(); n != 3 {
				t.Errorf("fetched %d messages", n)
			}
			want := 3
			if delete == "true" {
				want = 0
			}
			if far := a.flags("INBOX"); len(far) != want {
				t.Errorf("left: %v", far)
			}
		})
	}
}

const fetchmailrc = `set no syslog
set idfile {dir}/ids
poll {host} service {port} protocol {protocol} auth password
  user "{user}" password "{password}" sslproto "" keep
  mda "cat >> {dir}/mbox"
`

// TestFetchmailKeepsAndFetchesOnce by UIDL, and by IMAP's \Seen.
func TestFetchmailKeepsAndFetchesOnce(t *testing.T) {
	need(t, "fetchmail")
	for _, protocol := range []string{"POP3", "IMAP"} {
		t.Run(protocol, func(t *testing.T) {
			a := newAccount(t)
			a.deliver(3)
			host, port := a.pop3Host, a.pop3Port
			if protocol == "IMAP" {
				host, port = a.imapHost, a.imapPort
			}
			rc := a.path("fetchmailrc", a.fill(strings.NewReplacer("{host}", host, "{port}", port, "{protocol}", protocol).Replace(fetchmailrc)))
			a.run("fetchmail", "-f", rc, "--pidfile", filepath.Join(a.dir, "pid"), "--uidl")
			a.deliver(1)
			a.run("fetchmail", "-f", rc, "--pidfile", filepath.Join(a.dir, "pid"), "--uidl")
			if n := a.fetched(); n != 4 {
				t.Errorf("fetched %d messages", n)
			}
		})
	}
}
