package imapd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// TestResyncBelowTheTombstoneFloorNamesAllThatIsNotThere, but for what sequence match
// data shows to be known.
func TestResyncBelowTheTombstoneFloorNamesAllThatIsNotThere(t *testing.T) {
	twin := newAccount(t)
	d := newDirect(t, &altered{twin, func(v mail.View) mail.View { return forgetful{v} }}, 1)
	other := newDirect(t, twin, 2)
	d.fill(20)
	other.ok("SELECT INBOX")
	other.ok("STORE 3,5,18 +FLAGS.SILENT (\\Deleted)")
	other.ok("EXPUNGE")
	d.ok("ENABLE QRESYNC")
	box, err := twin.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info, err := box.Lookup("INBOX")
	box.Close()
	if err != nil {
		t.Fatal(err)
	}
	for params, want := range map[string]string{
		"":                             "3,5,18",
		" 1:10":                        "3,5",
		" 7,9":                         "",
		" 1:20 (1:8 1:2,4,6:10)":       "18",
		" (1,2,3 1,2,4)":               "5,18",
		" (1,2,9 1,2,9)":               "3,5,18",
		" (17 20)":                     "",
		" (1:4294967295 1:4294967295)": "3,5,18",
	} {
		out := d.ok("SELECT INBOX (QRESYNC (%d 1%s))", info.UIDValidity, params)
		_, got, found := strings.Cut(out, "* VANISHED (EARLIER) ")
		if got, _, _ = strings.Cut(got, "\r\n"); got != want || found != (want != "") {
			t.Errorf("%q: VANISHED %s, want %s", params, got, want)
		}
	}
	if out := d.ok("UID FETCH 4:18 FLAGS (CHANGEDSINCE %d VANISHED)", info.HighestModSeq); !strings.HasPrefix(out, "* VANISHED (EARLIER) 5,18\r\n") {
		t.Errorf("got %s", out)
	}
}

func TestVanishedLinesAreBounded(t *testing.T) {
	d := newDirect(t, newAccount(t), 1)
	var set mail.UIDSet
	for u := range mail.UID(5000) {
		set = set.Add(4_000_000_000 + 2*u)
	}
	d.vanished(set, true)
	var got mail.UIDSet
	for line := range strings.SplitSeq(strings.TrimSuffix(string(d.out.buf), "\r\n"), "\r\n") {
		text, ok := strings.CutPrefix(line, "* VANISHED (EARLIER) ")
		if !ok || len(line) > maxVanished+100 {
			t.Fatalf("line of %d octets: %.60q", len(line), line)
		}
		got = append(got, parseUIDs(text)...)
	}
	if got.String() != set.String() {
		t.Error("something is missing")
	}
}

func TestAgreedIsWhereTheClientKnowsAll(t *testing.T) {
	var m uidMap
	for _, u := range []mail.UID{2, 3, 4, 7, 8, 20} {
		m.add(u)
	}
	set := func(s string) mail.UIDSet { return parseUIDs(s) }
	for _, x := range []struct {
		numbers, uids string
		want          mail.UID
	}{
		{"1:6", "2:4,7:8,20", 20},
		{"1:3", "1:3", 0},
		{"1:3", "2:4", 4},
		{"4:6", "7:9", 8},
		{"1,4,9", "2,7,30", 7},
		{"9", "30", 0},
		{"6", "20", 20},
		{"5:7", "8,20:21", 20},
	} {
		q := new(imapwire.QResync)
		q.Match.Numbers, q.Match.UIDs = set(x.numbers), set(x.uids)
		if got := m.agreed(q); got != x.want {
			t.Errorf("%s %s: %d, want %d", x.numbers, x.uids, got, x.want)
		}
	}
}

func BenchmarkResync50k(b *testing.B) {
	for _, changes := range []int{0, 100, 10_000} {
		b.Run(fmt.Sprint(changes), func(b *testing.B) { benchResync(b, changes) })
	}
}

func benchResync(b *testing.B, changes int) {
	a := benchAccount(b)
	d := newDirect(b, a, 9)
	d.ok("ENABLE QRESYNC")
	d.ok("SELECT INBOX")
	at, validity := d.token.Selected.Highest, d.token.Selected.UIDValidity
	for i := 0; i < changes; i += 100 {
		lo := 1 + i*(benchMessages-100)/max(changes, 1)
		d.ok("STORE %d:%d +FLAGS.SILENT (k%d)", lo, lo+99, b.N%50)
		d.ok("STORE %d:%d -FLAGS.SILENT (k%d)", lo, lo+99, b.N%50)
	}
	command := fmt.Sprintf("a EXAMINE INBOX (QRESYNC (%d %d))", validity, at)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		out, err := d.run(command)
		if err != nil {
			b.Fatal(err)
		}
		n = strings.Count(out, " FETCH ")
	}
	b.ReportMetric(float64(n), "changes")
}
