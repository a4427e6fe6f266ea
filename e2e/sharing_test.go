package e2e

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/api"
)

// TestSharedMailOutlivesItsMasters has a user work in a mailbox of another, whose store is
// switched over and whose master is killed meanwhile, and in an account that is nobody's
// own. The session goes on, and nothing is lost or twice, wherever it was copied or moved.
func TestSharedMailOutlivesItsMasters(t *testing.T) {
	needDev(t)
	c := wholeDev(t)
	ann, bob := c.apart(t)
	store, front, err := c.frontFor(t.Context(), ann)
	if err != nil {
		t.Fatal(err)
	}
	info := user{User: "info" + ann.User[strings.Index(ann.User, "@"):]}
	c.share(t, front, ann, bob, info)
	m := &member{plain: mustLogin(t, front, bob), team: "Other Users/" + ann.User + "/Team", info: "Shared/" + info.User + "/INBOX"}
	m.plain.hear = m.note
	m.looksAround(t)
	l := &listener{plain: mustLogin(t, front, bob), messages: map[string]string{}}
	l.plain.hear = l.note
	if _, err := l.do("NOTIFY SET STATUS (mailboxes (%q %s) (MessageNew MessageExpunge))", m.team, m.info); err != nil {
		t.Fatal(err)
	}
	listening := l.listen(t)

	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stop(m.run(ctx))
	}()
	err = c.replaceBelow(ctx, store, &m.rounds)
	m.enough.Store(true)
	<-ended
	if cause := context.Cause(ctx); !errors.Is(cause, errEnough) {
		t.Fatalf("in round %d: %v, %v", m.rounds.Load()+1, cause, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	deliverTo(t, front, info, []byte("Subject: late\r\n\r\nbody\r\n"))
	if err := c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
	owner := mustLogin(t, front, ann)
	m.compare(t, owner)
	listening()
	l.compare(t, m, owner)
	if err := c.compareCopies(t.Context(), settleTime); err != nil {
		t.Error(err)
	}
}

// apart finds two users whose masters are on different machines.
func (c *cluster) apart(t *testing.T) (a, b user) {
	t.Helper()
	var first, other api.User
	c.answer(t, &first, "user", "where", c.Users[0].User)
	for _, u := range c.Users[1:] {
		if c.answer(t, &other, "user", "where", u.User); other.Master != first.Master {
			return c.Users[0], u
		}
	}
	t.Fatalf("the master of all users is %s", first.Master)
	return a, b
}

// share makes what ann shares with bob, and an account that is shared.
func (c *cluster) share(t *testing.T, front machine, ann, bob, info user) {
	t.Helper()
	owner := mustLogin(t, front, ann)
	for _, command := range []string{"CREATE Team", "SETACL Team " + bob.User + " lrswite"} {
		if _, err := owner.do("%s", command); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := owner.append("Team", "team"); err != nil {
		t.Fatal(err)
	}
	var u api.User
	if c.answer(t, &u, "user", "add", info.User, "--shared"); !u.Shared || u.Address != info.User {
		t.Fatalf("added %+v", u)
	}
	deliverTo(t, front, info, []byte("Subject: early\r\n\r\nbody\r\n"))
	var r api.ACLReport
	c.answer(t, &r, "user", "acl", info.User, "INBOX", bob.User, "lrsi")
	c.answer(t, &r, "user", "acl", info.User, "INBOX", bob.User, "+w")
	c.answer(t, &r, "user", "acl", info.User, "INBOX", bob.User, "--", "-i")
	c.answer(t, &r, "user", "acl", info.User, "INBOX", "anyone", "lrswite")
	c.answer(t, &r, "user", "acl", info.User)
	want := []api.ACLEntry{{Identifier: info.User, Rights: "lrswipkxtea"}, {Identifier: "anyone", Rights: "lrswite"}, {Identifier: bob.User, Rights: "lrsw"}}
	if len(r.Mailboxes) != 1 || r.Mailboxes[0].Mailbox != "INBOX" || !slices.Equal(r.Mailboxes[0].ACL, want) {
		t.Fatalf("granted: %+v", r)
	}
}

func mustLogin(t *testing.T, front machine, u user) *plain {
	t.Helper()
	p, err := plainLogin(t.Context(), front.IMAP, u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close() })
	return p
}

var uidCode = regexp.MustCompile(`\[(?:APPENDUID \d+|COPYUID \d+ \d+) (\d+)\]`)

// append adds a message with a subject, and gives its UID.
func (p *plain) append(mailbox, subject string) (string, error) {
	text := "Subject: " + subject + "\r\n\r\nbody of " + subject + "\r\n"
	return uidOf(p.retry("APPEND %q {%d+}\r\n%s", mailbox, len(text), text))
}

func uidOf(tagged string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	m := uidCode.FindStringSubmatch(tagged)
	if m == nil {
		return "", fmt.Errorf("no UID in %q", tagged)
	}
	return m[1], nil
}

// retry is do, again while the store of another account does not answer: nothing has
// happened then.
func (p *plain) retry(format string, args ...any) (string, error) {
	for deadline := time.Now().Add(commandTime); ; {
		answer, err := p.do(format, args...)
		if err == nil || !strings.Contains(err.Error(), " NO [UNAVAILABLE]") || time.Now().After(deadline) {
			return answer, err
		}
	}
}

// member works in mailboxes that are not his.
type member struct {
	*plain
	team, info string
	rounds     atomic.Int64 // that are done
	enough     atomic.Bool
	heard      []string // untagged responses since this was emptied
}

var errEnough = errors.New("as many rounds as were wanted")

func (m *member) note(response string) error {
	m.heard = append(m.heard, response)
	return nil
}

// ask is what the server says to a command.
func (m *member) ask(format string, args ...any) (string, error) {
	m.heard = nil
	_, err := m.retry(format, args...)
	return strings.Join(m.heard, ""), err
}

func (m *member) looksAround(t *testing.T) {
	t.Helper()
	for command, want := range map[string][]string{
		"NAMESPACE": {`* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Shared/" "/"))`},
		`LIST "" ("Other*" "Sh*") RETURN (STATUS (MESSAGES UNSEEN))`: {
			fmt.Sprintf(`* LIST (\HasNoChildren) "/" %q`, m.team), fmt.Sprintf("* STATUS %q (MESSAGES 1 UNSEEN 1)", m.team),
			`* LIST (\HasNoChildren) "/" ` + m.info, "* STATUS " + m.info + " (MESSAGES 1 UNSEEN 1)",
		},
		"CREATE Mine": nil, "CREATE Done": nil,
	} {
		got, err := m.ask("%s", command)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(got, w+"\r\n") {
				t.Fatalf("%s: got\n%s\nwant %s", command, got, w)
			}
		}
	}
}

// run does rounds until there are enough.
func (m *member) run(ctx context.Context) error {
	for !m.enough.Load() {
		if err := m.round(int(m.rounds.Load() + 1)); err != nil {
			return err
		}
		m.rounds.Add(1)
		if !pause(ctx, 50*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
	return errEnough
}

// round adds three messages: app stays in the other's mailbox, with a copy at home and one
// in the account that is nobody's; in is copied into it and moved out of it; moved is moved
// into it.
func (m *member) round(i int) error {
	app, err1 := m.append(m.team, fmt.Sprintf("app %d", i))
	in, err2 := m.append("Mine", fmt.Sprintf("in %d", i))
	moved, err3 := m.append("Mine", fmt.Sprintf("moved %d", i))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if _, err := m.retry("SELECT Mine"); err != nil {
		return err
	}
	in, err := uidOf(m.retry("UID COPY %s %q", in, m.team))
	if err != nil {
		return err
	}
	if _, err := m.retry("UID MOVE %s %q", moved, m.team); err != nil {
		return err
	}
	if _, err := m.retry("SELECT %q", m.team); err != nil {
		return err
	}
	for _, command := range []string{
		"UID STORE " + app + ` +FLAGS.SILENT (\Seen \Flagged)`, "UID COPY " + app + " Mine", "UID COPY " + app + " " + m.info, "UID MOVE " + in + " Done",
	} {
		if _, err := m.retry("%s", command); err != nil {
			return err
		}
	}
	got, err := m.ask("UID FETCH %s (FLAGS BODY.PEEK[TEXT])", app)
	if err == nil && (!strings.Contains(got, `\Seen`) || !strings.Contains(got, fmt.Sprintf("body of app %d\r\n", i))) {
		err = fmt.Errorf("fetched %q", got)
	}
	return err
}

// replaceBelow switches a store over and then kills its master, each between rounds of a
// session that works in it, and waits for more of these.
func (c *cluster) replaceBelow(ctx context.Context, store string, rounds *atomic.Int64) error {
	more := func() error {
		for until := rounds.Load() + 3; rounds.Load() < until; {
			if !pause(ctx, 20*time.Millisecond) {
				return context.Cause(ctx)
			}
		}
		return nil
	}
	if err := more(); err != nil {
		return err
	}
	old, err := c.master(ctx, store)
	if err == nil {
		_, err = c.run(ctx, "store", "switchover", store)
	}
	if err == nil {
		err = more()
	}
	if err != nil {
		return err
	}
	killed, err := c.master(ctx, store)
	if err != nil || killed == old {
		return fmt.Errorf("%s is still served by %s: %w", store, old, err)
	}
	if err := errors.Join(c.kill(killed), more()); err != nil {
		return err
	}
	if now, err := c.master(ctx, store); err != nil || now == killed {
		return fmt.Errorf("%s is still served by %s, which is dead: %w", store, killed, err)
	}
	if err := c.start(ctx, killed); err != nil {
		return err
	}
	return more()
}

var flagged = regexp.MustCompile(`FLAGS \(([^)]*)\)[^{]*\{\d+\}\r\nSubject: (.*)\r\n`)

// flags are those of a mailbox's messages, by subject. A subject that is there twice is an
// error.
func (p *plain) flags(t *testing.T, mailbox string) map[string]string {
	t.Helper()
	got := map[string]string{}
	p.hear = func(r string) error {
		m := flagged.FindStringSubmatch(r)
		if m == nil {
			return nil
		}
		if _, twice := got[m[2]]; twice {
			t.Errorf("%s: %s is there twice", mailbox, m[2])
		}
		got[m[2]] = m[1]
		return nil
	}
	for _, command := range []string{fmt.Sprintf("EXAMINE %q", mailbox), "FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"} {
		if _, err := p.retry("%s", command); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// compare holds what is there to what was done.
func (m *member) compare(t *testing.T, owner *plain) {
	t.Helper()
	n := int(m.rounds.Load())
	want := map[string][]string{m.team: {"team"}, m.info: {"early", "late"}}
	for i := 1; i <= n; i++ {
		app, in, moved := fmt.Sprintf("app %d", i), fmt.Sprintf("in %d", i), fmt.Sprintf("moved %d", i)
		want[m.team] = append(want[m.team], app, moved)
		want["Mine"] = append(want["Mine"], app, in)
		want["Done"] = append(want["Done"], in)
		want[m.info] = append(want[m.info], app)
	}
	for mailbox, subjects := range want {
		got := m.flags(t, mailbox)
		for _, s := range subjects {
			if _, there := got[s]; !there {
				t.Errorf("%s: %s is lost", mailbox, s)
			}
		}
		if len(got) != len(subjects) {
			t.Errorf("%s: %d messages, want %d", mailbox, len(got), len(subjects))
		}
	}
	his, hers := m.flags(t, m.team), owner.flags(t, "Team")
	for i := 1; i <= n; i++ {
		app := fmt.Sprintf("app %d", i)
		if !strings.Contains(his[app], `\Seen`) || !strings.Contains(his[app], `\Flagged`) {
			t.Errorf("%s has the flags %s for who has set them", app, his[app])
		}
		if strings.Contains(hers[app], `\Seen`) || !strings.Contains(hers[app], `\Flagged`) {
			t.Errorf("%s has the flags %s for its owner", app, hers[app])
		}
	}
	t.Logf("%d rounds", n)
}

// listener is told of mailboxes of others that it has not selected.
type listener struct {
	*plain
	messages map[string]string // how many, as it was told last
}

var messagesLine = regexp.MustCompile(`^\* STATUS ("[^"]*"|\S+) \(MESSAGES (\d+) `)

func (l *listener) note(response string) error {
	m := messagesLine.FindStringSubmatch(response)
	if m == nil {
		return fmt.Errorf("told %q", response)
	}
	l.messages[strings.Trim(m[1], `"`)] = m[2]
	return nil
}

// listen says something now and then, so that it hears what it is told, until the function
// that it returns is called.
func (l *listener) listen(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		var err error
		for err == nil && pause(ctx, 500*time.Millisecond) {
			_, err = l.do("NOOP")
		}
		ended <- err
	}()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Fatalf("who was to be notified: %v", err)
		}
	}
}

// compare holds what was told to what is there, and has it told of one more without a
// command of its own.
func (l *listener) compare(t *testing.T, m *member, owner *plain) {
	t.Helper()
	for _, mailbox := range []string{m.team, m.info} {
		got, err := m.ask("STATUS %q (MESSAGES UIDNEXT)", mailbox)
		if err != nil {
			t.Fatal(err)
		}
		is := messagesLine.FindStringSubmatch(got)
		for deadline := time.Now().Add(settleTime); is != nil && l.messages[mailbox] != is[2]; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: told of %s messages, there are %s", mailbox, l.messages[mailbox], is[2])
			}
			if _, err := l.do("NOOP"); err != nil {
				t.Fatal(err)
			}
			pause(t.Context(), 100*time.Millisecond)
		}
	}
	before := l.messages[m.team]
	if _, err := owner.append("Team", "told"); err != nil {
		t.Fatal(err)
	}
	if r, err := l.response(); err != nil || l.note(r) != nil || l.messages[m.team] == before {
		t.Errorf("of one more message: told %q, %v", r, err)
	}
}
