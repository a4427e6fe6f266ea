package state

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// memSpool counts the files that are open.
type memSpool struct {
	open int
	fail error
}

type memFile struct {
	spool *memSpool
	bytes.Buffer
}

func (s *memSpool) Create() (SpoolFile, error) {
	s.open++
	return &memFile{spool: s}, nil
}

func (f *memFile) Write(p []byte) (int, error) {
	if f.spool.fail != nil {
		return 0, f.spool.fail
	}
	return f.Buffer.Write(p)
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.Bytes()).ReadAt(p, off)
}

func (f *memFile) Close() error { f.spool.open--; return nil }

func chunksOf(t *testing.T, st *Staged) (all []byte, sizes []int) {
	t.Helper()
	for c, err := range st.Chunks() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c...)
		sizes = append(sizes, len(c))
	}
	return all, sizes
}

func TestStagedMessageIsTheSameInMemoryAndInAFile(t *testing.T) {
	for _, lines := range []int{0, 1, 50_000, 150_000} {
		in := strings.Repeat("Subject: x\n\nsome line of text\n", 1) + strings.Repeat("0123456789abcdef\n", lines)
		want := []byte(strings.ReplaceAll(in, "\n", "\r\n"))
		for _, spool := range []*memSpool{nil, {}} {
			stager := NewStager(nil)
			if spool != nil {
				stager = NewStager(spool)
			}
			st, err := stager.Stage(context.Background(), iotest.HalfReader(strings.NewReader(in)), 100<<20)
			if err != nil {
				t.Fatal(err)
			}
			got, sizes := chunksOf(t, st)
			if !bytes.Equal(got, want) || st.Size() != int64(len(want)) || st.SHA256() != sha256.Sum256(want) {
				t.Errorf("%d lines: %d octets staged as %d", lines, len(want), st.Size())
			}
			for i, n := range sizes {
				if n > operation.MaxChunk || i < len(sizes)-1 && n != operation.MaxChunk {
					t.Errorf("chunks of %v", sizes)
				}
			}
			equal(t, "header", string(st.Header()), "Subject: x\r\n")
			if spool != nil {
				equal(t, "file", spool.open == 1, len(want) > operation.MaxChunk)
				if err := errors.Join(st.Close(), st.Close()); err != nil {
					t.Error(err)
				}
				equal(t, "open files", spool.open, 0)
			}
		}
	}
}

func TestNothingIsLeftOfAMessageThatWasNotStaged(t *testing.T) {
	large := strings.Repeat("0123456789abcdef\r\n", 100_000)
	spool := &memSpool{}
	stager := NewStager(spool)
	if _, err := stager.Stage(context.Background(), strings.NewReader(large), int64(len(large))-1); !errors.Is(err, mail.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	broken := io.MultiReader(strings.NewReader(large), iotest.ErrReader(errDisk))
	if _, err := stager.Stage(context.Background(), broken, 100<<20); !errors.Is(err, errDisk) {
		t.Errorf("broken reader: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := stager.Stage(ctx, strings.NewReader("x"), 10); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	spool.fail = errDisk
	if _, err := stager.Stage(context.Background(), strings.NewReader(large), 100<<20); !errors.Is(err, errDisk) {
		t.Errorf("full spool: %v", err)
	}
	equal(t, "open files", spool.open, 0)
}

func TestProposalSaysHowFarBackItsBodiesAre(t *testing.T) {
	b := newBuilder(1, func() time.Time { return testTime })
	stager := NewStager(nil)
	stage := func(n int) *Staged {
		st, err := stager.Stage(context.Background(), strings.NewReader(strings.Repeat("x", n)), 10<<20)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	one, two, three := stage(10), stage(20), stage(30)
	three.Place([]Placed{{LSN: 5, Length: 30}})
	p, err := b.Propose(mail.AccountID{1}, mail.Request{Op: mail.Append{Messages: []mail.NewMessage{
		{Body: one}, {Body: two}, {Body: three}, {Body: one},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	m := p.Op.GetAppend().Messages
	equal(t, "chunks", len(p.Chunks), 2)
	equal(t, "first", m[0].Body.Chunks[0].Back, 17+27)
	equal(t, "second", m[1].Body.Chunks[0].Back, 27)
	equal(t, "placed", m[2].Body.Chunks[0].Lsn, 5)
	equal(t, "again", m[3].Body.Chunks[0].Back, 17+27)
	equal(t, "operation", string(p.Encoded) != "", true)
	if string(m[0].EmailId) == string(m[3].EmailId) {
		t.Error("two messages have one EMAILID")
	}
}

func TestThreadIsDecidedByTheHeaderAlone(t *testing.T) {
	h := newHarness(t)
	refs := h.body("Message-ID: <a@b>\nReferences: <c@d>\n\nReferences: <e@f>\n").references()
	want := message.ProposerFields([]byte("Message-ID: <a@b>\r\nReferences: <c@d>\r\n"))
	if string(refs) != string(want.MessageID[:])+string(want.References[0][:]) {
		t.Errorf("references %x", refs)
	}
}

func TestContentReadsAcrossItsParts(t *testing.T) {
	closed := 0
	c := NewContent([]byte("pre"), []Section{
		{strings.NewReader("xxabcxx"), 2, 3}, {strings.NewReader(""), 0, 0}, {strings.NewReader("defghi"), 0, 6},
	}, func() error { closed++; return nil })
	const want = "preabcdefghi"
	equal(t, "size", c.Size(), int64(len(want)))
	for off := range len(want) + 2 {
		for n := range len(want) + 2 {
			p := make([]byte, n)
			got, err := c.ReadAt(p, int64(off))
			end := min(off+n, len(want))
			if string(p[:got]) != want[min(off, end):end] || (err == nil) != (got == n) || err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("%d at %d: %q, %v", n, off, p[:got], err)
			}
		}
	}
	short := NewContent(nil, []Section{{strings.NewReader("ab"), 0, 3}}, nil)
	if _, err := short.ReadAt(make([]byte, 3), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a part that is short: %v", err)
	}
	if err := errors.Join(c.Close(), c.Close(), short.Close()); err != nil || closed != 1 {
		t.Errorf("closed %d times, %v", closed, err)
	}
}
