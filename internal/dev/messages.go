package dev

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxImport is the largest message that is read from a file.
const maxImport = 100 << 20

// message is one message of a source and where it came from.
type message struct {
	name   string
	octets []byte
}

// messages yields what path holds: one message file, an mbox, a Maildir with its
// folders, or a directory of message files. A leading "From " line is no part of a
// message. Duplicates are kept, empty files are no messages. An unreadable file is
// yielded as an error; the rest goes on.
func messages(path string) iter.Seq2[message, error] {
	files, err := messageFiles(path)
	if err != nil {
		return func(yield func(message, error) bool) { yield(message{}, err) }
	}
	return messagesIn(files)
}

func messagesIn(files []string) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		for _, f := range files {
			for m, err := range messagesOf(f) {
				if !yield(m, err) {
					return
				}
			}
		}
	}
}

// messageFiles lists the files below path that hold messages, in order. Hidden
// ones do not; in a Maildir only cur and new do, also of its folders (.Name).
func messageFiles(path string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		parent, name := filepath.Dir(p), filepath.Base(p)
		switch {
		case err != nil:
			return err
		case p == path && !d.IsDir():
			files = append(files, p) // what was named is meant
		case p == path:
		case isMaildir(parent) && d.IsDir() && name != "cur" && name != "new" && !isMaildir(p):
			return fs.SkipDir
		case isMaildir(parent) && !d.IsDir():
			// An index, a list of UIDs, a subscription.
		case strings.HasPrefix(name, ".") && !isMaildir(p):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.Type().IsRegular():
			files = append(files, p)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for messages: %w", err)
	}
	slices.Sort(files)
	return files, nil
}

func isMaildir(dir string) bool {
	for _, sub := range []string{"cur", "new", "tmp"} {
		if info, err := os.Stat(filepath.Join(dir, sub)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// totalSize is the size of what can be looked at, for a progress bar.
func totalSize(files []string) int64 {
	var n int64
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}

// messagesOf splits a file: an mbox at its "From " lines that follow an empty
// line, any other file is one message.
func messagesOf(path string) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(message{}, fmt.Errorf("open message: %w", err))
			return
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, 64<<10)
		s := splitter{name: path, yield: yield, mbox: isMbox(r)}
		s.run(r)
	}
}

func isMbox(r *bufio.Reader) bool {
	start, _ := r.Peek(5) // a shorter file is no mbox
	return bytes.Equal(start, []byte("From "))
}

type splitter struct {
	name  string
	yield func(message, error) bool
	mbox  bool
	count int
	buf   bytes.Buffer
	empty bool // the line before was empty
}

func (s *splitter) run(r *bufio.Reader) {
	first, lineStart := true, true
	for {
		line, err := r.ReadSlice('\n')
		from := lineStart && s.mbox && bytes.HasPrefix(line, []byte("From "))
		lineStart = !errors.Is(err, bufio.ErrBufferFull)
		switch {
		case from && first:
			first = false // the line is not part of the message
		case from && s.empty:
			if !s.emit() {
				return
			}
		default:
			first = false
			s.add(line)
		}
		s.empty = len(bytes.TrimRight(line, "\r\n")) == 0
		switch {
		case errors.Is(err, io.EOF):
			if s.buf.Len() > 0 {
				s.emit()
			}
			return
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			s.yield(message{}, fmt.Errorf("read %s: %w", s.name, err))
			return
		}
	}
}

func (s *splitter) add(line []byte) {
	if s.buf.Len() <= maxImport {
		s.buf.Write(line)
	}
}

// emit hands over what was gathered; an mbox's empty line before "From " is its own.
func (s *splitter) emit() bool {
	s.count++
	name := s.name
	if s.mbox {
		name = fmt.Sprintf("%s#%d", s.name, s.count)
	}
	octets := bytes.Clone(s.buf.Bytes())
	if s.mbox {
		octets = withoutLastEmptyLine(octets)
	}
	s.buf.Reset()
	if len(octets) > maxImport {
		return s.yield(message{}, fmt.Errorf("%s: larger than %d octets", name, maxImport))
	}
	return s.yield(message{name, octets}, nil)
}

func withoutLastEmptyLine(b []byte) []byte {
	for _, end := range []string{"\r\n", "\n"} {
		if before, ok := bytes.CutSuffix(b, []byte(end)); ok && bytes.HasSuffix(before, []byte("\n")) {
			return before
		}
	}
	return b
}
