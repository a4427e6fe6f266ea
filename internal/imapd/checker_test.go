package imapd

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/state"
)

var (
	checkerRuns = flag.Int("checker.runs", 200, "how often ten sessions are let loose on one mailbox")
	checkerSeed = flag.Uint64("checker.seed", 0, "the first seed")
)

// kinds are what the sessions of a run enable.
var kinds = []string{
	"", "CONDSTORE", "QRESYNC", "UIDONLY", "IMAP4rev2", "QRESYNC UIDONLY", "IMAP4rev2 QRESYNC", "",
	"CONDSTORE UIDONLY", "IMAP4rev2 UIDONLY QRESYNC",
}

// device is a client with a cache that outlives its sessions.
type device struct {
	*mirror
	kind    string
	session byte
	highest uint64            // MODSEQ that the client has been told of
	cache   map[string]string // UID -> flags, as of the last full synchronisation
	cached  uint64            // MODSEQ of the cache
}

var (
	modSeqItem  = regexp.MustCompile(`MODSEQ \((\d+)\)`)
	highestLine = regexp.MustCompile(`\[HIGHESTMODSEQ (\d+)\]`)
	anyExpunge  = regexp.MustCompile(`(?m)^\* (\d+ EXPUNGE|VANISHED [0-9])`)
	earlierLine = regexp.MustCompile(`(?m)^\* VANISHED \(EARLIER\) ([0-9:,]+)\r$`)
)

func (d *device) resyncs() bool { return strings.Contains(d.kind, "QRESYNC") }

// check runs a command and holds its answer to what is allowed.
func (d *device) check(t *testing.T, command string) {
	t.Helper()
	d.act(t, command)
	out := strings.Join(d.frames, "")
	if !strings.HasPrefix(command, "UID ") && anyExpunge.MatchString(out) {
		for _, numbered := range []string{"FETCH", "STORE", "SEARCH"} {
			if strings.HasPrefix(command, numbered) {
				t.Fatalf("%s tells of expunges: %s", command, out)
			}
		}
	}
	last := uint64(0)
	for _, m := range modSeqItem.FindAllStringSubmatch(out, -1) {
		n, _ := strconv.ParseUint(m[1], 10, 64)
		if n < last && command == "NOOP" {
			t.Fatalf("%s tells of MODSEQ %d after %d: %s", command, n, last, out)
		}
		last = n
		d.highest = max(d.highest, n)
	}
	for _, m := range highestLine.FindAllStringSubmatch(out, -1) {
		n, _ := strconv.ParseUint(m[1], 10, 64)
		d.highest = max(d.highest, n)
	}
	for _, banned := range []struct{ kind, text string }{
		{"UIDONLY", " FETCH ("},
		{"UIDONLY", " EXPUNGE\r\n"},
		{"QRESYNC", " EXPUNGE\r\n"},
		{"IMAP4rev2", "RECENT"},
		{"IMAP4rev2", `\Recent`},
		{"IMAP4rev2", "* SEARCH"},
		{"", "NOMODSEQ"},
	} {
		if strings.Contains(d.kind, banned.kind) && strings.Contains(out, banned.text) {
			t.Fatalf("%s with %s: %s", command, d.kind, out)
		}
	}
}

// remember synchronises fully.
func (d *device) remember(t *testing.T) {
	t.Helper()
	d.check(t, "NOOP")
	d.cache, d.cached = map[string]string{}, d.highest
	for _, b := range d.messages {
		d.cache[b.uid] = b.flags
	}
}

// reconnect begins a new session; a device that resynchronises uses its cache, and
// has then what a full look shows.
func (d *device) reconnect(t *testing.T, r *rand.Rand, a mail.Account) {
	t.Helper()
	d.session += 16
	d.mirror = &mirror{direct: newDirect(t, a, d.session)}
	d.token.Fork = history(t, a)
	if d.kind != "" {
		d.check(t, "ENABLE "+d.kind)
	}
	if !d.resyncs() || d.cache == nil {
		d.begin(t, "SELECT INBOX")
		return
	}
	box := d.validity(t, a)
	params := fmt.Sprintf("%d %d", box.UIDValidity, max(d.cached, 1))
	uids := d.cachedUIDs()
	if len(uids) > 0 && r.IntN(2) == 0 {
		params += " " + uids.String()
	}
	if !d.uidOnly() && len(uids) > 0 && r.IntN(2) == 0 {
		params += fmt.Sprintf(" (1:%d %s)", uids.Len(), uids)
	}
	out := d.begin(t, "SELECT INBOX (QRESYNC ("+params+"))")
	for _, v := range earlierLine.FindAllStringSubmatch(out, -1) {
		gone := parseUIDs(v[1])
		maps.DeleteFunc(d.cache, func(uid, _ string) bool {
			n, _ := strconv.Atoi(uid)
			return gone.Contains(mail.UID(n))
		})
	}
	for line := range strings.SplitSeq(out, "\r\n") {
		f := anyLine.FindStringSubmatch(line)
		if f == nil || !strings.HasSuffix(f[2], "FETCH") {
			continue
		}
		b := belief{}
		d.learn(t, &b, f[3])
		if f[2] == "UIDFETCH" {
			b.uid = f[1]
		}
		if _, known := d.cache[b.uid]; known {
			d.cache[b.uid] = b.flags
		}
	}
	for _, b := range d.messages {
		if _, known := d.cache[b.uid]; !known { // a new one, which resynchronisation need not show
			d.cache[b.uid] = b.flags
		}
	}
	full := map[string]string{}
	for _, b := range d.messages {
		full[b.uid] = b.flags
	}
	if !maps.Equal(full, d.cache) {
		t.Fatalf("SELECT (QRESYNC (%s)) makes\n%v, there is\n%v\n%s", params, d.cache, full, out)
	}
}

// begin selects, and asks for all there is. It returns the answer to SELECT.
func (d *device) begin(t *testing.T, command string) string {
	t.Helper()
	out := d.ok("%s", command)
	for line := range strings.SplitSeq(out, "\r\n") {
		if strings.HasSuffix(line, " EXISTS") {
			d.hear(t, line)
		}
	}
	for _, m := range highestLine.FindAllStringSubmatch(out, -1) {
		d.highest, _ = strconv.ParseUint(m[1], 10, 64)
	}
	d.ask(t)
	return out
}

func (d *device) cachedUIDs() mail.UIDSet {
	var set mail.UIDSet
	for uid := range d.cache {
		n, _ := strconv.Atoi(uid)
		set = append(set, mail.UIDRange{Lo: mail.UID(n), Hi: mail.UID(n)})
	}
	return mail.NewUIDSet(set...)
}

// history is the one that the account is in.
func history(t *testing.T, a mail.Account) uint64 {
	t.Helper()
	v, err := a.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	info, err := v.Account()
	if err != nil {
		t.Fatal(err)
	}
	return info.Fork
}

func (d *device) validity(t *testing.T, a mail.Account) mail.MailboxInfo {
	t.Helper()
	v, err := a.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	info, err := v.Lookup("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestTenSessionsSeeOneMailbox lets ten sessions of all kinds change one mailbox at
// random: they lose their masters, go and come back, some with what they remember;
// the memory of expunges is short in some runs, and in some the history forks. What
// each is told is allowed where it is told, and in the end all know the same.
func TestTenSessionsSeeOneMailbox(t *testing.T) {
	for i := range *checkerRuns {
		seed := *checkerSeed + uint64(i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { newChecker(t, seed).run(t) })
	}
}

type checker struct {
	r       *rand.Rand
	twin    *mailtest.Server
	account mail.Account
	forgets bool
	devices []*device
}

func newChecker(t *testing.T, seed uint64) *checker {
	c := &checker{r: rand.New(rand.NewPCG(seed, 9)), twin: mailtest.NewServer(mailtest.Config{Now: testNow})}
	a, err := c.twin.CreateAccount(mail.AccountID{1}, state.NewAccount{})
	if err != nil {
		t.Fatal(err)
	}
	c.account, c.forgets = a, seed%4 == 3
	if c.forgets {
		c.account = &altered{a, func(v mail.View) mail.View { return forgetful{v} }}
	}
	for i, kind := range kinds {
		d := &device{kind: kind, session: byte(i)}
		d.reconnect(t, c.r, c.account)
		c.devices = append(c.devices, d)
	}
	return c
}

func (c *checker) run(t *testing.T) {
	for range 60 {
		d := c.devices[c.r.IntN(len(c.devices))]
		switch n := c.r.IntN(20); {
		case n == 0 && d.session < 200:
			d.reconnect(t, c.r, c.account)
		case n < 3:
			d.remember(t)
		case n == 3 && !c.forgets:
			command := d.random(c.r)
			d.lose(t, command)
			if other := c.devices[c.r.IntN(len(c.devices))]; other != d {
				other.check(t, other.random(c.r))
			}
			d.move(t)
			d.check(t, command)
		case n == 4 && !c.forgets:
			d.move(t)
			d.check(t, d.random(c.r))
		case n == 5 && c.r.IntN(4) == 0:
			c.fork(t)
		default:
			d.check(t, d.random(c.r))
		}
	}
	c.agree(t)
}

// fork begins a new history: every session has ended by then.
func (c *checker) fork(t *testing.T) {
	t.Helper()
	p, err := c.twin.Builder().Fork(mail.Actor{}, 0)
	if err == nil {
		_, err = c.twin.Commit(p)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range c.devices {
		if d.session < 200 {
			d.reconnect(t, c.r, c.account)
		}
	}
}

func (c *checker) agree(t *testing.T) {
	t.Helper()
	want := &device{session: 255}
	want.reconnect(t, c.r, c.account)
	for i, d := range c.devices {
		d.check(t, "NOOP")
		if !slices.Equal(d.messages, want.messages) {
			t.Errorf("device %d (%s) was told\n%v, there is\n%v", i, d.kind, d.messages, want.messages)
		}
	}
}

// random is a command that the device may give.
func (d *device) random(r *rand.Rand) string {
	command := randomCommand(r, len(d.messages))
	switch name, _, _ := strings.Cut(command, " "); name {
	case "FETCH", "STORE", "COPY", "MOVE", "SEARCH":
		if d.uidOnly() {
			command = "UID " + command
		}
	}
	return command
}
