package imapwire

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/tandemail/tandemail/internal/heap"
)

// parsedMemory bounds what a command takes, in octets: what an octet of its text can ask
// for is a few structs, of which a slice that grows makes some more.
func parsedMemory(r Raw) int { return 128<<10 + 512*len(r.Text) }

// FuzzParse: any text and literal gives a command or a printable sentence, within a
// bound of memory.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/good.txt", "testdata/bad.txt"} {
		for _, x := range examples(f, file) {
			f.Add([]byte(x[0]+"\r\n"), false)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, utf8 bool) {
		c := NewCollector(Limits{Line: 4096, String: 4096, Message: 4096}, nil)
		for len(in) > 0 {
			n, step, _ := c.Feed(in)
			in = in[n:]
			if step != Whole {
				if n == 0 {
					return
				}
				continue
			}
			raw := c.Take()
			var err error
			heap.Within(t, parsedMemory(raw), func() { _, err = Parse(raw, utf8) })
			if e, ok := errors.AsType[*SyntaxError](err); err != nil && (!ok || !printable(e.Text)) {
				t.Fatalf("%q: %v", raw.Text, err)
			}
		}
	})
}

// FuzzCollector: how the stream is cut changes nothing, what was collected is what
// came, and the client decides nothing of what is kept.
func FuzzCollector(f *testing.F) {
	f.Add([]byte("a X {3+}\r\nabc {0}\r\n\r\nb Y\r\n"), 1)
	f.Add([]byte("a X ~{2}\r\n{9 \"{1}\nx\"\n"), 3)
	f.Add([]byte("a X {999+}\r\n"), 2)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		piece = max(piece, 1)
		limits := Limits{Line: 64, String: 16, Literals: 4}
		heap.Within(t, 64<<10+64*len(in), func() { take(limits, in) })
		whole := feed(NewCollector(limits, nil), string(in), len(in)+1)
		cut := feed(NewCollector(limits, nil), string(in), piece)
		if len(whole) != len(cut) {
			t.Fatalf("whole %q, cut %q", whole, cut)
		}
		for i := range whole {
			if whole[i] != cut[i] {
				t.Fatalf("whole %q, cut %q", whole, cut)
			}
		}
		c := NewCollector(Limits{}, nil)
		if n, step, err := c.Feed(in); step == Whole && err == nil {
			var out bytes.Buffer
			raw := c.Take()
			if _, err := raw.WriteTo(&out); err != nil || out.Len() != int(raw.Size()) {
				t.Fatalf("%q: %v", in[:n], err)
			}
			again := collect(t, string(bytes.TrimSuffix(out.Bytes(), []byte("\r\n"))))
			if !reflect.DeepEqual(again, raw) {
				t.Fatalf("%q became %q", in[:n], out.Bytes())
			}
		}
	})
}

// take collects all commands of in.
func take(limits Limits, in []byte) {
	c := NewCollector(limits, nil)
	for len(in) > 0 {
		n, step, err := c.Feed(in)
		if err != nil && step != Refused {
			return
		}
		if in = in[n:]; step == Whole {
			c.Take()
		}
	}
}

// FuzzUTF7: what decodes has no other encoding.
func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"a&-b", "Entw&APw-rfe", "&U,BTFw-", "&2D3eAA-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var plain string
		var err error
		heap.Within(t, 64<<10+32*len(s), func() { plain, err = DecodeUTF7(s) })
		if err != nil {
			return
		}
		if got := string(AppendUTF7(nil, plain)); got != s {
			t.Errorf("%q became %q became %q", s, plain, got)
		}
	})
}

// FuzzSearch: a search that was read, written and read again is the same one, unless
// it has become too much for a command.
func FuzzSearch(f *testing.F) {
	for _, x := range examples(f, "testdata/good.txt") {
		f.Add([]byte(x[0] + "\r\n"))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		search := func(c Command) (*Search, []SortCriterion) {
			switch a := c.Args.(type) {
			case *Search:
				return a, nil
			case *Sort:
				return &a.Search, a.Criteria
			case *Esearch:
				return &a.Search, nil
			}
			return nil, nil
		}
		read := func(in []byte) (Command, error) {
			c := NewCollector(Limits{}, nil)
			for len(in) > 0 {
				n, step, err := c.Feed(in)
				if in = in[n:]; step == Whole {
					return Parse(c.Take(), false)
				} else if err != nil || n == 0 {
					return Command{}, errors.New("no command")
				}
			}
			return Command{}, errors.New("no command")
		}
		var c Command
		var err error
		heap.Within(t, 1<<20+1024*len(in), func() { c, err = read(in) })
		want, by := search(c)
		if err != nil || want == nil {
			return
		}
		written := AppendSearch(nil, c.Tag, c.UID, by, want)
		if c.Name == "ESEARCH" {
			written = AppendEsearch(nil, c.Tag, want)
		}
		again, err := read(written)
		if e, ok := errors.AsType[*SyntaxError](err); ok && len(e.Text) > 10 && e.Text[:9] == "More than" || len(written) > 60<<10 {
			return
		}
		got, gotBy := search(again)
		if err != nil || !reflect.DeepEqual(got.Program, want.Program) || !reflect.DeepEqual(got.Items, want.Items) ||
			!reflect.DeepEqual(gotBy, by) || again.UID != c.UID || again.Name != c.Name {
			t.Fatalf("%q became %q: %v\n%+v\n%+v", in, written, err, want, got)
		}
	})
}
