package imapd

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/session"
)

// keeper is a client that keeps the results of its searches by what it is told.
type keeper struct {
	*direct
	results map[string][]string // UIDs, by tag
	ended   map[string]bool
}

var (
	updateLine = regexp.MustCompile(`^\* ESEARCH \(TAG "(\w+)"\) UID (ADDTO|REMOVEFROM) \((.*)\)$`)
	allLine    = regexp.MustCompile(`^\* ESEARCH \(TAG "(\w+)"\) UID(?: ALL (\S+))?$`)
	endedLine  = regexp.MustCompile(`^\* NO \[NOUPDATE "(\w+)"\]`)
)

// members are the UIDs of a set, in its order.
func members(set string) (list []string) {
	if set == "" {
		return nil
	}
	for _, part := range strings.Split(set, ",") {
		lo, hi, ok := strings.Cut(part, ":")
		if !ok {
			hi = lo
		}
		from, _ := strconv.Atoi(lo)
		to, _ := strconv.Atoi(hi)
		for ; from <= to; from++ {
			list = append(list, strconv.Itoa(from))
		}
	}
	return list
}

func (f *keeper) act(t *testing.T, command string) {
	t.Helper()
	out, err := f.run(command)
	if err != nil || strings.Contains(out, " BAD ") {
		t.Fatalf("%s: %s, %v", command, out, err)
	}
	for line := range strings.SplitSeq(out, "\r\n") {
		if m := allLine.FindStringSubmatch(line); m != nil {
			f.results[m[1]] = members(m[2])
		} else if m := endedLine.FindStringSubmatch(line); m != nil {
			f.ended[m[1]] = true
		} else if m := updateLine.FindStringSubmatch(line); m != nil {
			f.change(t, m[1], m[2] == "ADDTO", strings.Fields(m[3]))
		}
	}
}

// change does what RFC 5267 4.3.3 and 4.3.4 say.
func (f *keeper) change(t *testing.T, tag string, add bool, pairs []string) {
	t.Helper()
	list := f.results[tag]
	for i := 0; i < len(pairs); i += 2 {
		place, _ := strconv.Atoi(pairs[i])
		set := members(pairs[i+1])
		switch {
		case place == 0 && add:
			list = append(list, set...)
			slices.SortFunc(list, func(a, b string) int {
				x, _ := strconv.Atoi(a)
				y, _ := strconv.Atoi(b)
				return x - y
			})
		case place == 0:
			list = slices.DeleteFunc(list, func(u string) bool { return slices.Contains(set, u) })
		case add:
			list = slices.Insert(list, place-1, set...)
		default:
			if got := list[place-1 : place-1+len(set)]; !slices.Equal(got, set) {
				t.Fatalf("%s: at %d there is %v, not %v", tag, place, got, set)
			}
			list = slices.Delete(list, place-1, place-1+len(set))
		}
	}
	f.results[tag] = list
}

// TestFollowedResultsAreThoseOfANewSearch, whatever others do, and however often the
// session changes its master.
func TestFollowedResultsAreThoseOfANewSearch(t *testing.T) {
	programs := map[string]string{
		"c1": "SEARCH RETURN (UPDATE ALL) OR SEEN KEYWORD k1",
		"c2": "SORT RETURN (UPDATE ALL) (SUBJECT REVERSE ARRIVAL) UTF-8 UNFLAGGED",
		"c3": "SORT RETURN (UPDATE ALL) (REVERSE SIZE) UTF-8 ALL",
		"c4": "SEARCH RETURN (UPDATE ALL) BODY x NOT 2:3",
	}
	continued := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		a := newAccount(t)
		other := newDirect(t, a, 2)
		f := &keeper{newDirect(t, a, 1), map[string][]string{}, map[string]bool{}}
		other.ok("APPEND INBOX%s", strings.Repeat(" {15+}\r\nSubject: b\r\n\r\nx", 5))
		f.act(t, "x SELECT INBOX")
		other.ok("SELECT INBOX")
		for _, tag := range []string{"c1", "c2", "c3", "c4"} {
			f.act(t, tag+" UID "+programs[tag])
		}
		for range 40 {
			d := []*direct{f.direct, other}[r.IntN(2)]
			command := randomCommand(r, d.box.uids.len())
			if strings.Contains(command, "APPEND") {
				m := fmt.Sprintf("Subject: %c\r\n\r\n%s", 'a'+rune(r.IntN(4)), strings.Repeat("x", r.IntN(3)))
				command = fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(m), m)
			}
			if d == other {
				if out, err := other.run("x " + command); err != nil || strings.Contains(out, " BAD ") {
					t.Fatalf("%s: %s, %v", command, out, err)
				}
				continue
			}
			if r.IntN(4) == 0 {
				f.move(t)
			}
			f.act(t, "x "+command)
		}
		f.act(t, "x NOOP")
		for tag, program := range programs {
			if f.ended[tag] {
				continue
			}
			continued++
			got := f.results[tag]
			if tag == "c4" { // its numbers are those of the beginning
				program = "SEARCH RETURN (ALL) BODY x NOT UID 2:3"
			}
			f.act(t, "y UID "+strings.Replace(program, "UPDATE ALL", "ALL", 1))
			if want := f.results["y"]; !slices.Equal(got, want) {
				t.Fatalf("seed %d, %s: told %v, there is %v", seed, tag, got, want)
			}
			if i := f.contextOf(tag); f.contexts[i].members.Len() != len(got) || f.token.Contexts[i].Members.String() != f.contexts[i].members.String() {
				t.Fatalf("seed %d, %s: the token says %v", seed, tag, f.token.Contexts[i].Members)
			}
		}
	}
	if continued < 150 {
		t.Errorf("only %d searches were followed to the end", continued)
	}
}

func TestSearchThatCannotBeContinuedIsToldSo(t *testing.T) {
	a := newAccount(t)
	d, other := newDirect(t, a, 1), newDirect(t, a, 2)
	d.fill(3)
	d.ok("SELECT INBOX")
	d.ok("UID SORT RETURN (UPDATE) (SIZE) UTF-8 ALL")
	other.ok("SELECT INBOX")
	other.ok(`STORE 2 +FLAGS (\Deleted)`)
	other.ok("EXPUNGE")
	d.move(t)
	want := "* NO [NOUPDATE \"x\"] Search could not be continued\r\n* 2 EXPUNGE\r\nx OK NOOP completed\r\n"
	if out := d.ok("NOOP"); out != want {
		t.Errorf("got %s", out)
	}
	if len(d.token.Contexts) != 0 {
		t.Errorf("the token has %v", d.token.Contexts)
	}
}

func TestContextsOfATokenAreBounded(t *testing.T) {
	d := newDirect(t, newAccount(t), 1)
	d.fill(2)
	d.ok("SELECT INBOX")
	long := strings.Repeat("NOT TEXT abcdefgh ", session.MaxContextProgram/18+1)
	if out := d.ok("SEARCH RETURN (UPDATE) %sALL", long); !strings.Contains(out, `[NOUPDATE "x"]`) {
		t.Errorf("got %s", out)
	}
	for i := range session.MaxContexts + 1 {
		out, err := d.run(fmt.Sprintf("t%d SEARCH RETURN (UPDATE) ALL", i))
		if err != nil || strings.Contains(out, "NOUPDATE") != (i == session.MaxContexts) {
			t.Errorf("%d: %s, %v", i, out, err)
		}
	}
}

// TestNewResultIsFetchedAtAnotherMaster, as the search was begun at the one before.
func TestNewResultIsFetchedAtAnotherMaster(t *testing.T) {
	a := newAccount(t)
	d, other := newDirect(t, a, 1), newDirect(t, a, 2)
	d.fill(1)
	d.ok("SELECT INBOX")
	for tag, command := range map[string]string{
		"c1": "UID SEARCH RETURN (UPDATE (RFC822.SIZE) COUNT) ALL", "c2": "UID SORT RETURN (UPDATE (RFC822.SIZE) COUNT) (SIZE) UTF-8 ALL",
		"c3": "ESEARCH RETURN (UPDATE (RFC822.SIZE) COUNT) ALL",
	} {
		if out, err := d.run(tag + " " + command); err != nil || !strings.Contains(out, "COUNT 1") {
			t.Fatalf("got %s, %v", out, err)
		}
		d.move(t)
		other.fill(1)
		out := d.ok("NOOP")
		if !strings.Contains(out, "ADDTO (") || !strings.Contains(out, ") UID ADDTO") || !strings.Contains(out, "* 2 FETCH (UID 2 RFC822.SIZE 14)\r\n") {
			t.Errorf("%s: got %s", command, out)
		}
		d.ok("CANCELUPDATE %s", tag)
		a = newAccount(t)
		d, other = newDirect(t, a, 1), newDirect(t, a, 2)
		d.fill(1)
		d.ok("SELECT INBOX")
	}
}

// TestSearchThatWouldFetchTooMuchAtOnceIsFollowedNoMore, and what it was to tell is told of
// nothing.
func TestSearchThatWouldFetchTooMuchAtOnceIsFollowedNoMore(t *testing.T) {
	a := newAccount(t)
	d, other := newDirect(t, a, 1), newDirect(t, a, 2)
	d.ok("SELECT INBOX")
	d.ok("NOTIFY SET (selected (MessageNew (FLAGS) MessageExpunge))")
	for tag, items := range map[string]string{"c1": " (BODY.PEEK[HEADER])", "c2": ""} {
		if out, err := d.run(tag + " SEARCH RETURN (UPDATE" + items + ") ALL"); err != nil || strings.Contains(out, "NOUPDATE") {
			t.Fatalf("got %s, %v", out, err)
		}
	}
	field := "X: " + strings.Repeat("x", maxArrived/4) + "\r\n\r\n"
	for range 5 {
		other.ok("APPEND INBOX {%d+}\r\n%s", len(field), field)
	}
	out := d.ok("NOOP")
	if strings.Contains(out, "FETCH") || !strings.Contains(out, "* NO [NOUPDATE \"c1\"]") || strings.Contains(out, "NOUPDATE \"c2\"") ||
		!strings.Contains(out, "* OK [NOTIFICATIONOVERFLOW]") {
		t.Errorf("got %.1000s", out)
	}
	if len(d.token.Contexts) != 1 || len(d.contexts) != 1 || d.token.Contexts[0].Tag != "c2" {
		t.Errorf("the token has %v", d.token.Contexts)
	}
}
