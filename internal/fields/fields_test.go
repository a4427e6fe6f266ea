package fields_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

func TestWhatIsAppendedIsReadBack(t *testing.T) {
	set := mail.NewUIDSet(mail.UIDRange{Lo: 1, Hi: 1}, mail.UIDRange{Lo: 3, Hi: 300}, mail.UIDRange{Lo: 302, Hi: math.MaxUint32})
	id := [16]byte{1, 15: 16}
	b := fields.AppendUint(nil, uint64(math.MaxUint64))
	b = fields.AppendUint(b, uint32(math.MaxUint32))
	for _, v := range []int64{0, -1, 1, math.MinInt64, math.MaxInt64} {
		b = fields.AppendInt(b, v)
	}
	b = fields.AppendBool(fields.AppendBool(b, true), false)
	b = fields.AppendString(fields.AppendString(b, "word"), []byte{})
	b = fields.AppendSet(fields.AppendSet(append(b, id[:]...), set), nil)
	b = fields.AppendUint(b, uint64(math.MaxInt64))
	b = append(b, "rest"...)

	d := fields.NewDecoder(b)
	if d.U64() != math.MaxUint64 || d.U32() != math.MaxUint32 {
		t.Error("numbers")
	}
	for _, v := range []int64{0, -1, 1, math.MinInt64, math.MaxInt64} {
		if got := d.Int(); got != v {
			t.Errorf("%d is read as %d", v, got)
		}
	}
	if !d.Bool() || d.Bool() || d.String(4) != "word" || len(d.Octets(0)) != 0 || d.ID() != id {
		t.Error("bools, strings, id")
	}
	if got := d.Set(3); !cmp.Equal(got, set) {
		t.Errorf("set %v", got)
	}
	if d.Set(0) != nil || d.Size() != math.MaxInt64 || !d.More() || string(d.Rest()) != "rest" || d.More() {
		t.Error("empty set, size, rest")
	}
	if err := d.End("all"); err != nil {
		t.Error(err)
	}
}

func TestWhatNobodyWritesIsMalformed(t *testing.T) {
	for name, read := range map[string]func() (*fields.Decoder, any){
		"a number that is not in its shortest form": func() (*fields.Decoder, any) {
			d := fields.NewDecoder([]byte{0x80, 0})
			return d, d.U64()
		},
		"a number without its end": func() (*fields.Decoder, any) {
			d := fields.NewDecoder([]byte{0x80})
			return d, d.U64()
		},
		"a number above its limit": func() (*fields.Decoder, any) {
			d := fields.NewDecoder([]byte{3})
			return d, d.Uint(2)
		},
		"a string above its limit": func() (*fields.Decoder, any) {
			d := fields.NewDecoder([]byte("\x04word"))
			return d, uint64(len(d.String(3)))
		},
		"a string that is not all there": func() (*fields.Decoder, any) {
			d := fields.NewDecoder([]byte("\x04wor"))
			return d, uint64(len(d.String(10)))
		},
		"octets left": func() (*fields.Decoder, any) {
			return fields.NewDecoder([]byte{0}), uint64(0)
		},
		"a set with UID 0": func() (*fields.Decoder, any) {
			d := fields.NewDecoder([]byte{1, 0, 0})
			return d, uint64(len(d.Set(9)))
		},
		"a set of ranges that touch": func() (*fields.Decoder, any) {
			d := fields.NewDecoder([]byte{2, 1, 0, 0, 0})
			return d, uint64(len(d.Set(9)))
		},
		"a set beyond the last UID": func() (*fields.Decoder, any) {
			d := fields.NewDecoder(fields.AppendUint([]byte{1, 2}, uint32(math.MaxUint32)))
			return d, uint64(len(d.Set(9)))
		},
		"more things than there are octets for": func() (*fields.Decoder, any) {
			d := fields.NewDecoder([]byte{3, 0, 0})
			return d, uint64(d.Count(9, 1))
		},
	} {
		d, got := read()
		if err := d.End(name); !errors.Is(err, fields.ErrMalformed) || got != uint64(0) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// FuzzSet: a set is read as it was written, or not at all.
func FuzzSet(f *testing.F) {
	f.Add([]byte{2, 1, 0, 1, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := fields.NewDecoder(b)
		s := d.Set(1 << 20)
		if d.End("set") == nil && !bytes.Equal(fields.AppendSet(nil, s), b) {
			t.Errorf("%x is read as %v", b, s)
		}
	})
}
