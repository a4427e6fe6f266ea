package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/tandemail/tandemail/internal/bench"
)

// caching is a client that believes its cache: what it once saw under a UID is never
// asked for again by a real one.
type caching struct {
	t        *testing.T
	front    machine
	u        user
	seen     map[string][32]byte // UIDVALIDITY and UID -> octets, for ever
	modseq   map[uint32]uint64   // UIDVALIDITY -> HIGHESTMODSEQ
	subjects []string            // as of the last look, in order
}

// sync looks at INBOX, and holds it against everything it ever saw.
func (k *caching) sync(ctx context.Context) {
	k.t.Helper()
	s := k.login(ctx)
	defer s.Close()
	sel, err := s.Select("INBOX", &imap.SelectOptions{CondStore: true}).Wait()
	if err != nil {
		k.t.Fatal(err)
	}
	if last := k.modseq[sel.UIDValidity]; sel.HighestModSeq < last {
		k.t.Errorf("HIGHESTMODSEQ fell from %d to %d", last, sel.HighestModSeq)
	}
	k.modseq[sel.UIDValidity] = sel.HighestModSeq
	k.subjects = nil
	if sel.NumMessages == 0 {
		return
	}
	section := &imap.FetchItemBodySection{Peek: true}
	list, err := s.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, ModSeq: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		k.t.Fatal(err)
	}
	for _, m := range list {
		octets := m.FindBodySection(section)
		key, sum := fmt.Sprintf("%d %d", sel.UIDValidity, m.UID), sha256.Sum256(octets)
		if old, known := k.seen[key]; known && old != sum {
			k.t.Errorf("UID %s shows another message: %q", key, subjectOf(octets))
		}
		k.seen[key] = sum
		k.subjects = append(k.subjects, subjectOf(octets))
	}
	slices.Sort(k.subjects)
}

func (k *caching) login(ctx context.Context) *session {
	k.t.Helper()
	for end := time.Now().Add(readyTime); ; {
		s, err := login(ctx, k.front.IMAP, k.u)
		if err == nil {
			return s
		}
		if time.Now().After(end) || !pause(ctx, 100*time.Millisecond) {
			k.t.Fatal(err)
		}
	}
}

func subjectOf(octets []byte) string {
	_, s, _ := strings.Cut(string(octets), "Subject: ")
	s, _, _ = strings.Cut(s, "\r\n")
	return s
}

// deliver delivers messages of these subjects, and wants each acknowledged.
func (k *caching) deliver(ctx context.Context, subjects ...string) {
	k.t.Helper()
	conn, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "tcp", k.front.LMTP)
	if err != nil {
		k.t.Fatal(err)
	}
	defer conn.Close()
	lmtp, err := bench.NewLMTP(conn, "forced.invalid")
	if err != nil {
		k.t.Fatal(err)
	}
	for _, s := range subjects {
		if replies, err := lmtp.Data("", []string{k.u.User}, []byte("Subject: "+s+"\r\n\r\n"+s+"\r\n")); err != nil || !replies[0].OK() {
			k.t.Fatalf("deliver %s: %v, %v", s, replies, err)
		}
	}
}

// change flags one message and removes another.
func (k *caching) change(ctx context.Context, flag, remove string) {
	k.t.Helper()
	s := k.login(ctx)
	defer s.Close()
	if _, err := s.Select("INBOX", nil).Wait(); err != nil {
		k.t.Fatal(err)
	}
	find := func(subject string) imap.UIDSet {
		found, err := s.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: subject}}}, nil).Wait()
		if err != nil || len(found.AllUIDs()) != 1 {
			k.t.Fatalf("search %s: %v, %v", subject, found, err)
		}
		return imap.UIDSetNum(found.AllUIDs()...)
	}
	set := func(subject string, f imap.Flag) {
		if err := s.Store(find(subject), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{f}, Silent: true}, nil).Close(); err != nil {
			k.t.Fatal(err)
		}
	}
	set(flag, imap.FlagFlagged)
	set(remove, imap.FlagDeleted)
	if err := s.UIDExpunge(find(remove)).Close(); err != nil {
		k.t.Fatal(err)
	}
}

// want compares the subjects of the last look that are of this test.
func (k *caching) want(subjects ...string) {
	k.t.Helper()
	var got []string
	for _, s := range k.subjects {
		if strings.HasPrefix(s, "forced ") {
			got = append(got, s)
		}
	}
	slices.Sort(subjects)
	if !slices.Equal(got, subjects) {
		k.t.Errorf("INBOX has\n%q\nwant\n%q", got, subjects)
	}
}

// inSync waits until these machines, and no others, have all of a store.
func (c *cluster) inSync(ctx context.Context, store string, machines ...string) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		s, err := c.status(ctx)
		for _, st := range s.Stores {
			if st.Name == store && err == nil && slices.Equal(st.InSync, machines) {
				return nil
			}
		}
		if !pause(ctx, 100*time.Millisecond) {
			return fmt.Errorf("store %s is not in sync on %v: %+v, %w", store, machines, s.Stores, err)
		}
	}
}

// force appoints a copy that is behind, as a script does, once its plan can be made.
func (c *cluster) force(ctx context.Context, store string) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		out, err := c.run(ctx, "store", "failover", store, "--force", "--dry-run")
		var plan struct {
			Rev   int64    `json:"rev"`
			Users []string `json:"users"`
		}
		if err == nil {
			err = json.Unmarshal(out, &plan)
		}
		if err == nil {
			_, err = c.run(ctx, "store", "failover", store, "--force", "--yes", "--expect", fmt.Sprint(plan.Rev))
		}
		if err == nil || !pause(ctx, 200*time.Millisecond) {
			return err
		}
	}
}

// backFrom is the report of the one tail of a store.
type backFrom struct {
	State                               string
	Found, Delivered, Had, Left, Listed int
	Users                               []struct {
		User    string
		Changes []string
	}
}

func (c *cluster) tail(ctx context.Context, store string) (backFrom, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		out, err := c.run(ctx, "store", "tails", store)
		var list []backFrom
		if err == nil {
			err = json.Unmarshal(out, &list)
		}
		if err == nil && len(list) == 1 && list[0].State == "done" {
			return list[0], nil
		}
		if !pause(ctx, 500*time.Millisecond) {
			return backFrom{}, fmt.Errorf("no tail of store %s was brought back: %s, %w", store, out, err)
		}
	}
}

// TestForcedFailoverShowsNoOtherMessageAndBringsAllBack kills one copy, acknowledges
// changes on the other alone, kills that, and forces the first, which lacks them.
func TestForcedFailoverShowsNoOtherMessageAndBringsAllBack(t *testing.T) {
	needDev(t)
	dir, err := os.MkdirTemp("", "tmf-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept %s and %s.log", dir, dir)
			return
		}
		os.RemoveAll(dir)
		os.Remove(dir + ".log")
	})
	ctx := t.Context()
	c := startDev(t, dir)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.settle(ctx, settleTime))
	k := &caching{t: t, u: c.Users[0], seen: map[string][32]byte{}, modseq: map[uint32]uint64{}}
	store, front, err := c.frontFor(ctx, k.u)
	must(err)
	k.front = front
	old, err := c.master(ctx, store)
	must(err)
	behind := ""
	for _, m := range c.Machines {
		if m.Name != old && m.Name != front.Name {
			behind = m.Name
		}
	}

	k.deliver(ctx, "forced common 0", "forced common 1", "forced common 2")
	k.sync(ctx)
	must(c.kill(behind))
	must(c.inSync(ctx, store, old))
	k.deliver(ctx, "forced alone 0", "forced alone 1", "forced alone 2", "forced alone 3")
	k.change(ctx, "forced common 1", "forced common 2")
	k.sync(ctx)
	k.want("forced common 0", "forced common 1", "forced alone 0", "forced alone 1", "forced alone 2", "forced alone 3")
	must(c.kill(old))
	must(c.start(ctx, behind))
	must(c.force(ctx, store))

	k.sync(ctx)
	k.want("forced common 0", "forced common 1", "forced common 2")
	k.deliver(ctx, "forced new 0", "forced new 1", "forced new 2", "forced new 3")
	k.sync(ctx)

	must(c.start(ctx, old))
	r, err := c.tail(ctx, store)
	must(err)
	if r.Found != 4 || r.Delivered+r.Had != 4 || r.Left != 0 || r.Listed < 3 {
		t.Errorf("report %+v", r)
	}
	var changes []string
	for _, u := range r.Users {
		if u.User == k.u.User {
			changes = u.Changes
		}
	}
	for _, want := range []string{`flags added: \Flagged`, `flags added: \Deleted`, "expunged"} {
		if !slices.ContainsFunc(changes, func(c string) bool { return strings.Contains(c, want) }) {
			t.Errorf("the report does not list %q: %q", want, changes)
		}
	}
	must(c.settle(ctx, settleTime))
	must(c.compareCopies(ctx, settleTime))
	k.sync(ctx)
	k.want("forced common 0", "forced common 1", "forced common 2", "forced alone 0", "forced alone 1", "forced alone 2", "forced alone 3",
		"forced new 0", "forced new 1", "forced new 2", "forced new 3")
}
