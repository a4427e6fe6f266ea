package pack

import (
	"errors"
	"testing"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

func TestFilesStayOpenBetweenReads(t *testing.T) {
	s := mustOpen(t, config(newMem(t)))
	var all []message
	var at []Location
	for i := range maxFiles + 3 {
		m := made(1, mail.BodyID(100+i), noise(uint64(i), 700))
		_, where := mustWrite(t, s, []message{m})
		all, at = append(all, m), append(at, where[m.Body])
	}
	for i, m := range all {
		mustRead(t, s, m, at[i])
	}
	if n := len(s.files); n != maxFiles {
		t.Fatalf("%d files are open, want %d", n, maxFiles)
	}
	last := len(all) - 1
	was := s.packs[at[last].Pack].file
	mustRead(t, s, all[last], at[last])
	if f := s.packs[at[last].Pack].file; f != was || f == nil || f.users != 0 {
		t.Errorf("the file was opened anew: %v, %v", f, was)
	}
	first := s.files[0]
	mustRead(t, s, all[0], at[0]) // in place of the one used longest ago
	if first.file != nil || s.packs[at[0].Pack].file == nil {
		t.Error("another file was closed than that used longest ago")
	}

	b, err := s.Body(all[last].Body, at[last])
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Retire(at[last].Pack); err != nil {
		t.Fatal(err)
	}
	mustRead(t, s, all[last], at[last]) // retired, but read
	if _, err := b.ReadAt(make([]byte, 10), 0); err != nil {
		t.Errorf("a body that is open: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	s.Close()
	if len(s.files) != 0 {
		t.Errorf("%d files are open in a set that is closed", len(s.files))
	}
	if _, err := s.Body(all[0].Body, at[0]); !errors.Is(err, cluster.ErrStopped) {
		t.Errorf("a closed set: %v", err)
	}
}
