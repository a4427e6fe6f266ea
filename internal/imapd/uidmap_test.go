package imapd

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// TestUIDMapAgreesWithAList compares it with the obvious implementation.
func TestUIDMapAgreesWithAList(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var m uidMap
		var list []mail.UID
		next := mail.UID(1)
		if seed%5 == 0 {
			next = maxUID - 300
		}
		for range 20 {
			for range r.IntN(20) {
				if next > maxUID-4 {
					break
				}
				next += mail.UID(max(r.IntN(5)-1, 1))
				m.add(next)
				list = append(list, next)
			}
			var gone mail.UIDSet
			list = slices.DeleteFunc(list, func(u mail.UID) bool {
				if r.IntN(4) > 0 {
					return false
				}
				gone = gone.Add(u)
				return true
			})
			m.remove(m.among(gone))
			compare(t, r, &m, list)
		}
	}
}

func compare(t *testing.T, r *rand.Rand, m *uidMap, list []mail.UID) {
	t.Helper()
	if m.len() != len(list) {
		t.Fatalf("%d messages, want %d", m.len(), len(list))
	}
	if got := slices.Collect(m.all().All()); !slices.Equal(got, list) {
		t.Fatalf("got %v, want %v", got, list)
	}
	for i, u := range list {
		if n := m.number(u); n != uint32(i+1) {
			t.Fatalf("number of %d is %d, want %d", u, n, i+1)
		}
	}
	if len(list) == 0 {
		return
	}
	lo := r.IntN(len(list))
	hi := lo + r.IntN(len(list)-lo)
	if got := slices.Collect(m.numbers(uint32(lo+1), uint32(hi+1)).All()); !slices.Equal(got, list[lo:hi+1]) {
		t.Fatalf("numbers %d to %d are %v, want %v", lo+1, hi+1, got, list[lo:hi+1])
	}
	asked := mail.NewUIDSet(mail.UIDRange{Lo: list[lo], Hi: list[hi]}, mail.UIDRange{Lo: list[0], Hi: list[0]})
	want := slices.DeleteFunc(slices.Clone(list), func(u mail.UID) bool { return !asked.Contains(u) })
	if got := slices.Collect(m.among(asked).All()); !slices.Equal(got, want) {
		t.Fatalf("among %v are %v, want %v", asked, got, want)
	}
}

func TestUIDMapHoldsTheLargestUID(t *testing.T) {
	var m uidMap
	m.add(maxUID - 1)
	m.add(maxUID)
	m.remove(mail.NewUIDSet(mail.UIDRange{Lo: maxUID, Hi: maxUID}))
	if m.len() != 1 || m.max() != maxUID-1 {
		t.Errorf("%+v", m)
	}
}

func TestSplitKeepsOrderAndSize(t *testing.T) {
	set := mail.NewUIDSet(mail.UIDRange{Lo: 1, Hi: 5}, mail.UIDRange{Lo: 7, Hi: 7}, mail.UIDRange{Lo: 10, Hi: 19})
	var got []string
	for _, p := range split(set, 4) {
		got = append(got, p.String())
	}
	if want := []string{"1:4", "5,7,10:11", "12:15", "16:19"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestListPatternsMatchAsSpecified(t *testing.T) {
	for _, x := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a/b", true},
		{"%", "a/b", false},
		{"%", "a", true},
		{"a/%", "a/b", true},
		{"a/%", "a", false},
		{"a*", "a", true},
		{"%/%", "a/b", true},
		{"%/%", "a/b/c", false},
		{"*c", "a/b/c", true},
		{"a%c", "abc", true},
		{"a%c", "a/c", false},
		{"", "", true},
		{"", "a", false},
		{"%*%*%*%*%*%*%*%*%*%*%*%*x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
	} {
		if got := matches(x.pattern, x.name); got != x.want {
			t.Errorf("%q on %q: %v", x.pattern, x.name, got)
		}
	}
}

func TestEveryCommandThatCanBeReadHasAHandlerOrBelongsToTheFrontEnd(t *testing.T) {
	frontEnd := map[string]bool{
		"LOGOUT": true, "STARTTLS": true, "LOGIN": true, "AUTHENTICATE": true, "COMPRESS": true,
	}
	for _, name := range imapwire.Commands() {
		if _, ok := handlers[name]; ok == frontEnd[name] {
			t.Errorf("%s: handler %v, front end %v", name, ok, frontEnd[name])
		}
	}
}

func TestIntersectionOfSets(t *testing.T) {
	a := mail.NewUIDSet(mail.UIDRange{Lo: 1, Hi: 5}, mail.UIDRange{Lo: 8, Hi: 20})
	b := mail.NewUIDSet(mail.UIDRange{Lo: 4, Hi: 9}, mail.UIDRange{Lo: 20, Hi: 30})
	want := mail.NewUIDSet(mail.UIDRange{Lo: 4, Hi: 5}, mail.UIDRange{Lo: 8, Hi: 9}, mail.UIDRange{Lo: 20, Hi: 20})
	if got := intersect(a, b); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
