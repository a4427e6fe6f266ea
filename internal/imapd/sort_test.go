package imapd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

func TestSortAndThreadHaveALimit(t *testing.T) {
	k := sortKeys{by: []imapwire.SortCriterion{{Key: imapwire.SortSubject}}}
	m := summary{uid: 1}
	m.Subject = strings.Repeat("y", 1<<20)
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		err = k.add(&m)
	}
	if !errors.Is(err, mail.ErrLimit) || n < 60 {
		t.Errorf("SORT: %v after %d MiB", err, n)
	}
	by := newThreader(imapwire.ThreadReferences, 0)
	m.References = make([][16]byte, 50)
	for n, err = 0, nil; err == nil && n < 30_000; n++ {
		for i := range m.References {
			binary.BigEndian.PutUint64(m.References[i][:], uint64(n*50+i+1))
		}
		err = by.add(&m)
	}
	if !errors.Is(err, mail.ErrLimit) || n < 19_000 {
		t.Errorf("THREAD: %v after %d messages", err, n)
	}
}

// TestKeysCompareLikeTheCriteria: octets do what RFC 5256 says with values.
func TestKeysCompareLikeTheCriteria(t *testing.T) {
	texts := []string{"", "a", "ab", "b", "a\x01b", "\xc3\xa4", "a\xff"}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		by := []imapwire.SortCriterion{
			{Key: imapwire.SortSubject, Reverse: r.IntN(2) == 0},
			{Key: imapwire.SortSize, Reverse: r.IntN(2) == 0},
			{Key: imapwire.SortFrom},
			{Key: imapwire.SortArrival},
		}
		k := sortKeys{by: by}
		list := make([]summary, 40)
		for i := range list {
			m := summary{uid: mail.UID(i + 1), size: int64(r.IntN(3)), arrival: mail.Instant(r.IntN(5) - 2)}
			m.Subject, m.From = texts[r.IntN(len(texts))], texts[r.IntN(len(texts))]
			list[i] = m
			if err := k.add(&m); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortStableFunc(list, func(a, b summary) int { return compareBy(by, &a, &b) })
		for i, u := range k.order() {
			if list[i].uid != u {
				t.Fatalf("seed %d: at %d got %d, want %d", seed, i, u, list[i].uid)
			}
		}
	}
}

func compareBy(by []imapwire.SortCriterion, a, b *summary) int {
	for _, c := range by {
		d := 0
		switch c.Key {
		case imapwire.SortSize:
			d = int(a.size - b.size)
		case imapwire.SortArrival:
			d = int(a.arrival - b.arrival)
		default:
			d = strings.Compare(a.text(c.Key), b.text(c.Key))
		}
		if c.Reverse {
			d = -d
		}
		if d != 0 {
			return d
		}
	}
	return 0
}

// FuzzSummaryPage: what is kept of many messages is read as it was, or made again.
func FuzzSummaryPage(f *testing.F) {
	f.Add([]byte("\x01\x00\x05\x00\x02\x02\x02\x02\x02\x02\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var a, b summaries
		if !a.decode(string(in)) {
			return
		}
		if !b.decode(string(a.encode())) || fmt.Sprint(a.page) != fmt.Sprint(b.page) {
			t.Fatalf("%v became %v", a.page, b.page)
		}
	})
}
