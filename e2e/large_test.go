package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/tandemail/tandemail/internal/bench"
)

const (
	largeTime  = 3 * time.Minute // for the answer to one large message
	largeLimit = 36_000_000      // octets, set for the test: the default is 104,857,600
	largeUsers = 6
)

// TestLargeMessagesArriveWholeForEverybody delivers messages of 3 and of 30 MB, and
// one of exactly the size that SIZE announces, each in one transaction to users of
// several stores, and reads back every octet.
func TestLargeMessagesArriveWholeForEverybody(t *testing.T) {
	needDev(t)
	c := wholeDev(t)
	router := c.lowerLimit(t, largeLimit)
	users := c.usersOfStores(t, largeUsers, 4)
	for _, m := range []struct {
		name    string
		octets  []byte
		to      []user
		chunked bool
	}{
		{"3 MB", oddMessage(1, 3_000_000), users, false},
		{"30 MB", oddMessage(2, 30_000_000), users, true},
		{"as large as may be", plainMessage(largeLimit), users[:2], false},
	} {
		begin := time.Now()
		c.deliverLarge(t, router, m.octets, m.to, m.chunked)
		delivered := time.Since(begin)
		for _, u := range m.to {
			c.readLast(t, u, m.octets, m.to)
		}
		t.Logf("%s to %d users: delivered in %v, read in %v", m.name, len(m.to), delivered, time.Since(begin)-delivered)
	}
	over := transact(t, router, plainMessage(largeLimit+1), addresses(users[:2]), false)
	for i, r := range over {
		if r.Code != 552 {
			t.Errorf("one octet more, %s: %d %s", users[i].User, r.Code, r.Text)
		}
	}
	if err := c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
	if err := c.compareCopies(t.Context(), settleTime); err != nil {
		t.Error(err)
	}
}

// lowerLimit starts one machine again with a smaller limit and returns its router,
// which must announce it.
func (c *cluster) lowerLimit(t *testing.T, limit int) (router string) {
	t.Helper()
	m := c.Machines[0]
	f, err := os.OpenFile(filepath.Join(c.Dir, m.Name, "tandemail.toml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "\n[mail]\nmax_size = %d\n", limit)
	if closeErr := f.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	if err := c.kill(m.Name); err != nil {
		t.Fatal(err)
	}
	if err := c.start(t.Context(), m.Name); err != nil {
		t.Fatal(err)
	}
	if err := c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
	if got := announcedSize(t, m.LMTP); got != limit {
		t.Fatalf("SIZE %d is announced, not %d", got, limit)
	}
	return m.LMTP
}

// announcedSize asks an LMTP server how large a message may be (RFC 1870).
func announcedSize(t *testing.T, addr string) int {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, dialTime)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(answerTime))
	if _, err := fmt.Fprint(conn, "LHLO large.invalid\r\nQUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	for in := bufio.NewScanner(conn); in.Scan(); {
		if len(in.Text()) < 4 {
			continue
		}
		if s, ok := strings.CutPrefix(in.Text()[4:], "SIZE "); ok {
			n, err := strconv.Atoi(s)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s announces no SIZE", addr)
	return 0
}

// usersOfStores chooses n users of at least so many stores.
func (c *cluster) usersOfStores(t *testing.T, n, stores int) []user {
	t.Helper()
	by, err := c.usersByStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var chosen []string
	used := map[string]bool{}
	for turn := 0; len(chosen) < n && turn < len(c.Users); turn++ {
		for store, list := range by {
			if turn < len(list) && len(chosen) < n {
				chosen, used[store] = append(chosen, list[turn]), true
			}
		}
	}
	if len(chosen) < n || len(used) < stores {
		t.Fatalf("%d users of %d stores were found: %v", len(chosen), len(used), by)
	}
	var users []user
	for _, u := range c.Users {
		if slices.Contains(chosen, u.User) {
			users = append(users, u)
		}
	}
	return users
}

func addresses(users []user) (to []string) {
	for _, u := range users {
		to = append(to, u.User)
	}
	return to
}

// deliverLarge delivers in one transaction, with a stranger among the recipients:
// each has a result of its own.
func (c *cluster) deliverLarge(t *testing.T, router string, octets []byte, users []user, chunked bool) {
	t.Helper()
	const stranger = 1
	to := slices.Insert(addresses(users), stranger, "stranger@example.test")
	for i, r := range transact(t, router, octets, to, chunked) {
		if i == stranger && r.Code != 550 || i != stranger && !r.OK() {
			t.Errorf("%s: %d %s", to[i], r.Code, r.Text)
		}
	}
}

func transact(t *testing.T, router string, octets []byte, to []string, chunked bool) []bench.Reply {
	t.Helper()
	conn, err := net.DialTimeout("tcp", router, dialTime)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(largeTime))
	lmtp, err := bench.NewLMTP(conn, "large.invalid")
	if err != nil {
		t.Fatal(err)
	}
	send := lmtp.Data
	if chunked {
		send = lmtp.Chunk
	}
	replies, err := send("large@example.test", to, octets)
	if err != nil || len(replies) != len(to) {
		t.Fatalf("deliver %d octets: %d replies, %v", len(octets), len(replies), err)
	}
	return replies
}

// readLast compares the newest message of u's INBOX with what was sent.
func (c *cluster) readLast(t *testing.T, u user, sent []byte, users []user) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), largeTime)
	defer cancel()
	s, err := c.loginAnywhere(ctx, rand.New(rand.NewPCG(1, uint64(len(sent)))), u)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stored, err := s.last()
	if err != nil {
		t.Fatalf("%s: %v", u.User, err)
	}
	if d := damage(stored, sent); d != "" {
		t.Fatalf("%s: %s", u.User, d)
	}
	prefix := stored[:len(stored)-len(canonical(sent))]
	for _, other := range users {
		named := bytes.Contains(prefix, []byte("Delivered-To: "+other.User+"\r\n"))
		if named != (other.User == u.User) {
			t.Errorf("%s: its prefix names %s: %v\n%s", u.User, other.User, named, prefix)
		}
	}
}

// last reads the newest message of INBOX.
func (s *session) last() (octets []byte, err error) {
	section := &imap.FetchItemBodySection{Peek: true}
	err = s.do(func() error {
		sel, err := s.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			return err
		}
		messages, err := s.Fetch(imap.SeqSetNum(sel.NumMessages), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		if err == nil && len(messages) != 1 {
			err = fmt.Errorf("%d messages for number %d", len(messages), sel.NumMessages)
		}
		if err != nil {
			return err
		}
		octets = messages[0].FindBodySection(section)
		return nil
	})
	return octets, err
}

// oddMessage is about n octets of what real mail and attackers contain.
func oddMessage(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := bytes.NewBuffer(make([]byte, 0, n+4096))
	fmt.Fprintf(b, "Subject: large %d\r\nMessage-ID: <%d-%d@large.invalid>\r\n\r\n", n, seed, n)
	for b.Len() < n {
		switch rng.IntN(20) {
		case 0:
			b.WriteString(oddities[rng.IntN(len(oddities))])
		case 1:
			b.WriteByte(0)
		default:
			for range 100 {
				b.WriteByte(byte(' ' + rng.IntN(95)))
			}
			b.WriteString("\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// plainMessage is exactly n octets, stored as they are.
func plainMessage(n int) []byte {
	b := bytes.NewBuffer(make([]byte, 0, n))
	fmt.Fprintf(b, "Subject: exactly %d\r\n\r\n", n)
	line := strings.Repeat("x", 76) + "\r\n"
	for b.Len()+2*len(line) < n {
		b.WriteString(line)
	}
	b.WriteString(strings.Repeat("y", n-b.Len()-2) + "\r\n")
	return b.Bytes()
}
