package salvage

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// maildir is a Maildir++: INBOX is the directory itself, every other mailbox a
// directory in it whose name begins with a dot and has dots for separators.
type maildir struct {
	dir    string
	tables map[string][]string // by mailbox: keywords in the order of their letters
	number int
}

func newMaildir(dir string) (*maildir, error) {
	m := &maildir{dir: dir, tables: map[string][]string{}}
	return m, makeMaildir(dir)
}

func makeMaildir(dir string) error {
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func (d *maildir) mailbox(f folder) error {
	dir := filepath.Join(d.dir, folderName(f.name))
	if _, known := d.tables[f.name]; known {
		return nil
	}
	if err := makeMaildir(dir); err != nil {
		return err
	}
	d.tables[f.name] = slices.Clone(f.keywords[:min(len(f.keywords), letters)])
	if f.name == mail.Inbox {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "maildirfolder"), nil, 0o600)
}

// maxFolder is how long the name of a folder may be, so that file systems take it.
const maxFolder = 240

// folderName is the directory of a mailbox: "" for INBOX. A dot in a component is
// written as modified UTF-7 writes what is not ASCII, since dots separate.
func folderName(name string) string {
	if name == mail.Inbox {
		return ""
	}
	var b strings.Builder
	for component := range strings.SplitSeq(name, mail.Separator) {
		wire := string(imapwire.AppendUTF7(nil, component))
		b.WriteString("." + strings.ReplaceAll(wire, ".", "&AC4-"))
	}
	s := b.String()
	if len(s) > maxFolder {
		s = fmt.Sprintf("%s-%x", s[:maxFolder-17], sha256.Sum256([]byte(name)))[:maxFolder]
	}
	return s
}

// letters is how many keywords a folder can have: a to z.
const letters = 26

func (d *maildir) message(m message, octets io.Reader) error {
	if err := d.mailbox(folder{name: m.mailbox}); err != nil {
		return err
	}
	dir := filepath.Join(d.dir, folderName(m.mailbox))
	d.number++
	unique := fmt.Sprintf("%d.N%dU%dV%d.tandemail,S=%d", m.date.Time().Unix(), d.number, m.uid, m.validity, m.size)
	tmp := filepath.Join(dir, "tmp", unique)
	if err := writeFile(tmp, octets); err != nil {
		return err
	}
	when := m.date.Time()
	if err := os.Chtimes(tmp, when, when); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, "cur", unique+":2,"+d.info(m)))
}

// info is the flags part of a file's name: letters in the order of ASCII.
func (d *maildir) info(m message) string {
	var b []byte
	for _, f := range []struct {
		flag   mail.Flags
		letter byte
	}{{mail.Draft, 'D'}, {mail.Flagged, 'F'}, {mail.Answered, 'R'}, {mail.Seen, 'S'}, {mail.Deleted, 'T'}} {
		if m.flags&f.flag != 0 {
			b = append(b, f.letter)
		}
	}
	table := d.tables[m.mailbox]
	for _, k := range m.keywords {
		i := slices.Index(table, k)
		if i < 0 && len(table) < letters {
			i, table = len(table), append(table, k)
			d.tables[m.mailbox] = table
		}
		if i >= 0 {
			b = append(b, byte('a'+i))
		}
	}
	slices.Sort(b)
	return string(b)
}

// close writes what the keywords' letters mean, as Dovecot reads it.
func (d *maildir) close() error {
	for name, table := range d.tables {
		if len(table) == 0 {
			continue
		}
		var b bytes.Buffer
		for i, k := range table {
			fmt.Fprintf(&b, "%d %s\n", i, k)
		}
		if err := os.WriteFile(filepath.Join(d.dir, folderName(name), "dovecot-keywords"), b.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, octets io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, octets)
	return errors.Join(err, f.Close())
}
