package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

const mbsyncrc = `IMAPAccount tandemail
Host {imaphost}
Port {imapport}
User {user}
Pass {password}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account tandemail

MaildirStore near
Path {dir}/mail/
Inbox {dir}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns INBOX Archive
Create Near
Expunge Both
Sync All
SyncState *
`

// TestMbsyncGoesBothWays: what either side changes the other gets, and a run with
// nothing to do does nothing.
func TestMbsyncGoesBothWays(t *testing.T) {
	need(t, "mbsync")
	a := newAccount(t)
	a.deliver(3)
	rc := a.path("mbsyncrc", a.fill(mbsyncrc))
	if err := os.Mkdir(filepath.Join(a.dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	a.run("mbsync", "-c", rc, "-a")
	near := maildir(t, filepath.Join(a.dir, "mail/INBOX"))
	if len(near) != 3 {
		t.Fatalf("pulled: %v", near)
	}
	before := snapshot(t, filepath.Join(a.dir, "mail"))
	a.run("mbsync", "-c", rc, "-a")
	if after := snapshot(t, filepath.Join(a.dir, "mail")); !slices.Equal(before, after) {
		t.Errorf("a run with nothing to do changed\n%v\nto\n%v", before, after)
	}
	// near: message 1 is answered, message 2 removed, another one is new. far: message 3 is flagged.
	rename(t, near["message 1"], "R")
	rename(t, near["message 2"], "ST")
	a.path("mail/INBOX/new/1.local", "From: me@example.net\nSubject: near\n\nfrom here\n")
	a.flag("message 3", imap.FlagFlagged)
	a.run("mbsync", "-c", rc, "-a")
	far := a.flags("INBOX")
	if len(far) != 3 || !slices.Contains(far["message 1"], imap.FlagAnswered) || !has(far, "near") {
		t.Errorf("pushed: %v", far)
	}
	near = maildir(t, filepath.Join(a.dir, "mail/INBOX"))
	if len(near) != 3 || !strings.HasSuffix(near["message 3"], "F") {
		t.Errorf("pulled: %v", near)
	}
}

// rename gives a file of a Maildir other flags.
func rename(t *testing.T, file, flags string) {
	t.Helper()
	base, _, _ := strings.Cut(filepath.Base(file), ":")
	to := filepath.Join(filepath.Dir(filepath.Dir(file)), "cur", base+":2,"+flags)
	if err := os.Rename(file, to); err != nil {
		t.Fatal(err)
	}
}

// snapshot is every file below dir that is not mbsync's state.
func snapshot(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), ".") {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// flag sets a flag of the message with a subject.
func (a *account) flag(subject string, f imap.Flag) {
	a.t.Helper()
	c := a.login()
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		a.t.Fatal(err)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: subject}}}, nil).Wait()
	if err == nil {
		err = c.Store(found.All, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{f}}, nil).Close()
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

const offlineimaprc = `[general]
accounts = a
ui = basic

[Account a]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {dir}/mail

[Repository far]
type = IMAP
remotehost = {imaphost}
remoteport = {imapport}
remoteuser = {user}
remotepass = {password}
ssl = no
starttls = no
auth_mechanisms = PLAIN, LOGIN
folderfilter = lambda name: name == 'INBOX'
`

func TestOfflineimapGoesBothWays(t *testing.T) {
	need(t, "offlineimap")
	a := newAccount(t)
	a.deliver(3)
	rc := a.path("offlineimaprc", a.fill(offlineimaprc))
	a.run("offlineimap", "-c", rc, "-o")
	near := maildir(t, filepath.Join(a.dir, "mail/INBOX"))
	if len(near) != 3 {
		t.Fatalf("pulled: %v", near)
	}
	rename(t, near["message 1"], "FS")
	a.path("mail/INBOX/new/1.local", "From: me@example.net\nSubject: near\n\nfrom here\n")
	a.run("offlineimap", "-c", rc, "-o")
	far := a.flags("INBOX")
	if len(far) != 4 || !slices.Contains(far["message 1"], imap.FlagFlagged) || !has(far, "near") {
		t.Errorf("pushed: %v", far)
	}
}

const neomuttrc = `set imap_user={user}
set imap_pass={password}
set imap_authenticators="login"
set folder=imap://{imaphost}:{imapport}/
set spoolfile=imap://{imaphost}:{imapport}/INBOX
set ssl_starttls=no
set ssl_force_tls=no
set imap_condstore=yes
set imap_qresync=yes
set header_cache={dir}/cache
set message_cachedir={dir}/cache
set delete=yes
set confirmappend=no
set copy=no
set sort=mailbox-order
set wait_key=no
set sleep_time=0
set abort_key=""
set confirmappend=no
set confirmcreate=no
set resolve=no
push "<tag-pattern>~A<enter><tag-prefix><copy-message>{dir}/mbox<enter><first-entry><set-flag>!<last-entry><delete-message><sync-mailbox><exit>"
`

// TestNeomuttReadsFlagsAndDeletes opens the mailbox twice: the second time from its
// cache, by CONDSTORE or QRESYNC.
func TestNeomuttReadsFlagsAndDeletes(t *testing.T) {
	need(t, "neomutt", "script")
	a := newAccount(t)
	a.deliver(3)
	rc := a.path("neomuttrc", a.fill(neomuttrc))
	if err := os.Mkdir(filepath.Join(a.dir, "cache"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a.run("script", "-qec", "neomutt -n -F "+rc+" -f imap://"+a.imap+"/INBOX", "/dev/null")
	}
	far := a.flags("INBOX")
	if len(far) != 1 || !slices.Contains(far["message 1"], imap.FlagFlagged) {
		t.Errorf("left: %v", far)
	}
	if n := a.fetched(); n != 5 {
		t.Errorf("copied %d messages", n)
	}
}

const imaplibScript = `
import imaplib, json, sys
host, port, user, password = sys.argv[1:]
c = imaplib.IMAP4(host, int(port))
c.login(user, password)
c.enable('CONDSTORE')
print(json.dumps({
  'select': c.select('INBOX')[1][0].decode(),
  'search': c.search(None, 'SUBJECT', '"message 2"')[1][0].decode(),
  'body': c.fetch('2', '(BODY.PEEK[TEXT])')[1][0][1].decode(),
  'store': c.store('2', '+FLAGS', '(\\Answered)')[0],
  'append': c.append('INBOX', None, None, b'Subject: from Python\r\n\r\nx\r\n')[0],
  'copy': c.copy('1:2', 'Archive')[0],
  'noop': c.noop()[0],
  'list': len(c.list()[1]),
  'expunge': (c.store('1', '+FLAGS', '(\\Deleted)'), c.expunge()[1][0].decode())[1],
}))
c.close()
c.logout()
`

func TestImaplib(t *testing.T) {
	need(t, "python3")
	a := newAccount(t)
	a.deliver(3)
	var got map[string]any
	out := a.run("python3", "-c", imaplibScript, a.imapHost, a.imapPort, a.user, a.password)
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for key, want := range map[string]any{
		"select": "3", "search": "2", "body": "Text 2\r\n.dot\r\n", "store": "OK", "append": "OK", "copy": "OK", "noop": "OK", "expunge": "1",
	} {
		if got[key] != want {
			t.Errorf("%s: got %v, want %v", key, got[key], want)
		}
	}
	if far := a.flags("Archive"); len(far) != 2 {
		t.Errorf("copied: %v", far)
	}
}

func has(m map[string][]imap.Flag, key string) bool {
	_, ok := m[key]
	return ok
}
