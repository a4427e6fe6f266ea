package pack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/mail"
)

// text is n octets that compress about as mail does.
func text(seed uint64, n int) []byte {
	b := noise(seed, n)
	copy(b[n/2:], prose(seed, n))
	return b
}

func benchSet(b *testing.B) *Set {
	cfg := config(vfs.Default)
	cfg.Dir = b.TempDir() + "/packs"
	return mustOpen(b, cfg)
}

var benchSizes = []int{4 << 10, 64 << 10}

// BenchmarkWrite writes packs of 64 MiB to a real file system, syncs included.
func BenchmarkWrite(b *testing.B) {
	for _, size := range benchSizes {
		for name, octets := range map[string][]byte{"text": text(1, size), "noise": noise(1, size)} {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, name), func(b *testing.B) {
				s := benchSet(b)
				m := made(1, 1, octets)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				var w *Writer
				for b.Loop() {
					if w == nil {
						w = mustCreate(b, s)
					}
					m.Body++
					if _, err := w.Add(m.Entry, bytes.NewReader(octets)); err != nil {
						b.Fatal(err)
					}
					if w.file.End() > 64<<20 {
						mustSeal(b, w)
						w = nil
					}
				}
				if w != nil {
					mustSeal(b, w)
				}
			})
		}
	}
}

func mustCreate(t testing.TB, s *Set) *Writer {
	t.Helper()
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func mustSeal(t testing.TB, w *Writer) {
	t.Helper()
	p, err := w.Seal()
	if err == nil {
		err = w.set.Retire(p.ID) // the next one needs the room
	}
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRead reads bodies at random places, from the page cache.
func BenchmarkRead(b *testing.B) {
	for _, size := range benchSizes {
		for name, make := range map[string]func(uint64, int) []byte{"text": text, "noise": noise} {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, name), func(b *testing.B) {
				s := benchSet(b)
				var all []message
				for i := range 512 {
					all = append(all, made(1, mail.BodyID(i+1), make(uint64(i), size)))
				}
				_, at := mustWrite(b, s, all)
				p := noise(0, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				id := mail.BodyID(0)
				for b.Loop() {
					id = (id+97)%512 + 1
					body, err := s.Body(id, at[id])
					if err != nil {
						b.Fatal(err)
					}
					if _, err := body.ReadAt(p, 0); err != nil {
						b.Fatal(err)
					}
					if err := body.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkThrough reads a pack of 64 MiB from end to end: by Scan, Scrub, and Rewrite.
func BenchmarkThrough(b *testing.B) {
	for _, size := range benchSizes {
		s := benchSet(b)
		var all []message
		for i := range (64 << 20) / size {
			all = append(all, made(1, mail.BodyID(i+1), text(uint64(i), size)))
		}
		p, _ := mustWrite(b, s, all)
		b.Run(fmt.Sprintf("%dKiB/scan", size>>10), func(b *testing.B) {
			b.SetBytes(p.Plain)
			f, err := s.cfg.FS.Open(s.path(p.ID.fileName()))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			for b.Loop() {
				for item, err := range Scan(f, p.Size, p.ID) {
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.Copy(io.Discard, item.Octets); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run(fmt.Sprintf("%dKiB/scrub", size>>10), func(b *testing.B) {
			b.SetBytes(p.Plain)
			for b.Loop() {
				for _, err := range s.Scrub(context.Background(), 0, nil) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run(fmt.Sprintf("%dKiB/rewrite", size>>10), func(b *testing.B) {
			b.SetBytes(p.Plain)
			last := p.ID
			for b.Loop() {
				res, err := s.Rewrite(context.Background(), Rewrite{
					Packs: []ID{last}, Keep: func(Stored) (bool, error) { return true, nil }, Publish: func(Pack) error { return nil },
				})
				if err != nil {
					b.Fatal(err)
				}
				last = res.New[0].ID
			}
		})
	}
}
