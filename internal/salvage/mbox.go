package salvage

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

// mbox is a directory with a file in mboxrd form for each mailbox: lines that begin
// with "From ", after any number of ">", get one ">" more. Octets are otherwise as
// stored, line ends too; Status, X-Status, X-Keywords and X-UID lines come before them.
type mbox struct {
	dir  string
	name string // of the open mailbox
	file *os.File
	out  *bufio.Writer
}

func newMbox(dir string) (*mbox, error) { return &mbox{dir: dir}, os.MkdirAll(dir, 0o700) }

// mailbox opens the file of a mailbox for more.
func (b *mbox) mailbox(f folder) error {
	if b.file != nil && b.name == f.name {
		return nil
	}
	if err := b.close(); err != nil {
		return err
	}
	name := strings.TrimPrefix(folderName(f.name), ".")
	if name == "" {
		name = mail.Inbox
	}
	file, err := os.OpenFile(filepath.Join(b.dir, name+".mbox"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	b.name, b.file, b.out = f.name, file, bufio.NewWriter(file)
	return nil
}

func (b *mbox) message(m message, octets io.Reader) error {
	if err := b.mailbox(folder{name: m.mailbox}); err != nil {
		return err
	}
	// Errors of b.out are kept until it is flushed.
	fmt.Fprintf(b.out, "From MAILER-DAEMON %s\n", m.date.Time().Format("Mon Jan _2 15:04:05 2006"))
	status := "O"
	if m.flags&mail.Seen != 0 {
		status = "RO"
	}
	fmt.Fprintf(b.out, "Status: %s\r\n", status)
	for _, f := range []struct {
		flag   mail.Flags
		letter string
	}{{mail.Answered, "A"}, {mail.Deleted, "D"}, {mail.Flagged, "F"}, {mail.Draft, "T"}} {
		if m.flags&f.flag != 0 {
			fmt.Fprintf(b.out, "X-Status: %s\r\n", f.letter)
		}
	}
	if len(m.keywords) > 0 {
		fmt.Fprintf(b.out, "X-Keywords: %s\r\n", strings.Join(m.keywords, " "))
	}
	if m.uid > 0 {
		fmt.Fprintf(b.out, "X-UID: %d\r\n", m.uid)
	}
	return b.quoted(octets)
}

// quoted writes a message's octets and the empty line behind them.
func (b *mbox) quoted(octets io.Reader) error {
	in := bufio.NewReaderSize(octets, 64<<10)
	begins, last := true, byte('\n')
	for {
		line, err := in.ReadSlice('\n')
		if begins && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
			_ = b.out.WriteByte('>')
		}
		if len(line) > 0 {
			_, _ = b.out.Write(line)
			last = line[len(line)-1]
		}
		begins = err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if !errors.Is(err, io.EOF) {
				return err
			}
			break
		}
	}
	if last != '\n' {
		_ = b.out.WriteByte('\n')
	}
	return b.out.WriteByte('\n')
}

func (b *mbox) close() error {
	if b.file == nil {
		return nil
	}
	err := errors.Join(b.out.Flush(), b.file.Close())
	b.file = nil
	return err
}
