package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

const (
	corpusCouriers = 8
	corpusTime     = 10 * time.Minute // for all deliveries
	corpusLimit    = 200_000          // files
)

// realMail is one file of the corpus on its way.
type realMail struct {
	path    string
	sent    []byte // as handed to the router
	chunk   bool   // by BDAT, which takes any octets; else by DATA, as an MTA does
	user    int
	unknown int // attempts without answer
	acked   bool
	found   int // times in the mailbox
}

// TestCorpus delivers real mail while a machine is killed half way, and reads back
// that each stored message ends with the octets sent.
func TestCorpus(t *testing.T) {
	needDev(t)
	root := os.Getenv("TANDEMAIL_CORPUS")
	if root == "" {
		t.Skip("lacks TANDEMAIL_CORPUS, a directory of message files")
	}
	mails, err := readCorpus(root)
	if err != nil {
		t.Fatal(err)
	}
	c := wholeDev(t)
	first, err := c.uidNexts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := deliverCorpus(t.Context(), c, mails); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	if err := c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
	if err := c.compareCopies(t.Context(), settleTime); err != nil {
		t.Error(err)
	}
	strangers, err := findCorpus(t.Context(), c, mails, first)
	if err != nil {
		t.Fatal(err)
	}
	judgeCorpus(t, mails, strangers, took)
}

func judgeCorpus(t *testing.T, mails []*realMail, strangers []string, took time.Duration) {
	t.Helper()
	for _, s := range strangers {
		t.Error(s)
	}
	retried, twice := 0, 0
	for _, m := range mails {
		switch {
		case m.acked && m.found == 0:
			t.Errorf("%s: acknowledged, and no stored message ends with its %d octets", m.path, len(m.sent))
		case m.found > 1+m.unknown:
			t.Errorf("%s: there %d times after 1 acknowledged attempt and %d without answer", m.path, m.found, m.unknown)
		}
		retried += min(m.unknown, 1)
		twice += max(m.found-1, 0)
	}
	t.Logf("%d messages delivered in %.1f s and read back; %d were tried again, %d of the attempts without answer left a message too",
		len(mails), took.Seconds(), retried, twice)
}

// readCorpus reads every file. A first line that begins with "From " belongs to
// the mailbox file it once was in and is left out.
func readCorpus(root string) ([]*realMail, error) {
	var mails []*realMail
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(filepath.Ext(path), ".js") { // descriptions beside the messages
			return err
		}
		if len(mails) == corpusLimit {
			return fmt.Errorf("more than %d files", corpusLimit)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(b, []byte("From ")) {
			_, b, _ = bytes.Cut(b, []byte("\n"))
		}
		m := &realMail{path: path, sent: b, chunk: len(mails)%2 == 0}
		if !m.chunk {
			if m.sent = canonical(b); !bytes.HasSuffix(m.sent, []byte("\r\n")) {
				m.sent = append(m.sent, "\r\n"...)
			}
		}
		mails = append(mails, m)
		return nil
	})
	if err == nil && len(mails) == 0 {
		err = fmt.Errorf("no files in %s", root)
	}
	return mails, err
}

// deliverCorpus delivers until everything is acknowledged. When half is, a machine is killed.
func deliverCorpus(ctx context.Context, c *cluster, mails []*realMail) error {
	ctx, cancel := context.WithTimeout(ctx, corpusTime)
	defer cancel()
	var next, done atomic.Int64
	half := make(chan struct{})
	var clients sync.WaitGroup
	for n := range corpusCouriers {
		clients.Go(func() {
			k := &courier{c: c, rng: rand.New(rand.NewPCG(1, uint64(n))), n: n}
			defer k.disconnect()
			for i := next.Add(1) - 1; i < int64(len(mails)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				mails[i].user = int(i) % len(c.Users)
				k.deliverReal(ctx, mails[i])
				if done.Add(1) == int64(len(mails)+1)/2 {
					close(half)
				}
			}
		})
	}
	broken := make(chan error, 1)
	go func() { broken <- killAt(ctx, c, half) }()
	clients.Wait()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%d of %d messages within %v: %w", done.Load(), len(mails), corpusTime, err)
	}
	return <-broken
}

func killAt(ctx context.Context, c *cluster, moment <-chan struct{}) error {
	select {
	case <-moment:
	case <-ctx.Done():
		return ctx.Err()
	}
	victim := c.Machines[1].Name
	if err := c.kill(victim); err != nil {
		return err
	}
	pause(ctx, 3*time.Second)
	return c.start(ctx, victim)
}

// deliverReal tries until the message is acknowledged or ctx ends.
func (k *courier) deliverReal(ctx context.Context, m *realMail) {
	to := []string{k.c.Users[m.user].User}
	for !m.acked && k.connect(ctx) {
		send := k.lmtp.Data
		if m.chunk {
			send = k.lmtp.Chunk
		}
		_ = k.conn.SetDeadline(time.Now().Add(answerTime)) // a closed one fails at the next write
		replies, err := send("corpus@example.test", to, m.sent)
		switch {
		case err != nil:
			m.unknown++
			k.disconnect()
		case replies[0].OK():
			m.acked = true
		default:
			m.unknown++
			pause(ctx, 50*time.Millisecond)
		}
	}
}

// uidNexts returns UIDNEXT of every user's INBOX.
func (c *cluster) uidNexts(ctx context.Context) ([]imap.UID, error) {
	var next []imap.UID
	for _, u := range c.Users {
		s, err := login(ctx, c.Machines[0].IMAP, u)
		if err != nil {
			return nil, err
		}
		var sel *imap.SelectData
		err = s.do(func() error { sel, err = s.Select("INBOX", nil).Wait(); return err })
		s.Close()
		if err != nil {
			return nil, fmt.Errorf("select INBOX of %s: %w", u.User, err)
		}
		next = append(next, sel.UIDNext)
	}
	return next, nil
}

// findCorpus reads every mailbox from the given UIDs on and counts where each
// message of the corpus is. It describes stored messages that end with none.
func findCorpus(ctx context.Context, c *cluster, mails []*realMail, first []imap.UID) (strangers []string, err error) {
	for i, u := range c.Users {
		s, err := login(ctx, c.Machines[i%len(c.Machines)].IMAP, u)
		if err != nil {
			return nil, err
		}
		index := indexByEnd(mails, i)
		err = s.eachMessage("INBOX", first[i], func(uid imap.UID, stored []byte) {
			if m := index.find(stored); m != nil {
				m.found++
				return
			}
			strangers = append(strangers, fmt.Sprintf("%s UID %d: %d octets that end with no message sent to him", u.User, uid, len(stored)))
		})
		s.Close()
		if err != nil {
			return nil, err
		}
	}
	return strangers, nil
}

func (s *session) eachMessage(mailbox string, from imap.UID, found func(imap.UID, []byte)) error {
	if err := s.do(func() error { _, err := s.Select(mailbox, nil).Wait(); return err }); err != nil {
		return fmt.Errorf("select %s: %w", mailbox, err)
	}
	section := &imap.FetchItemBodySection{Peek: true}
	var set imap.UIDSet
	set.AddRange(from, 0)
	cmd := s.Fetch(set, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}})
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		m, err := data.Collect()
		if err != nil {
			cmd.Close()
			return fmt.Errorf("fetch %s: %w", mailbox, err)
		}
		if m.UID >= from { // "n:*" names the last message even if it is below n
			found(m.UID, m.FindBodySection(section))
		}
	}
	return cmd.Close()
}

const endLength = 64

// endIndex finds messages by their last octets.
type endIndex map[string][]*realMail

func indexByEnd(mails []*realMail, user int) endIndex {
	x := endIndex{}
	for _, m := range mails {
		if m.user == user {
			m.sent = canonical(m.sent)
			end := string(m.sent[max(0, len(m.sent)-endLength):])
			x[end] = append(x[end], m)
		}
	}
	for _, ms := range x {
		slices.SortFunc(ms, func(a, b *realMail) int { return len(b.sent) - len(a.sent) })
	}
	return x
}

// find returns the longest message that stored ends with, of equal ones the one
// that was found least often.
func (x endIndex) find(stored []byte) *realMail {
	var best *realMail
	for n := min(endLength, len(stored)); n >= 0; n-- {
		for _, m := range x[string(stored[len(stored)-n:])] {
			if n < endLength && len(m.sent) != n || !bytes.HasSuffix(stored, m.sent) {
				continue
			}
			if best == nil || len(m.sent) == len(best.sent) && m.found < best.found {
				best = m
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}
