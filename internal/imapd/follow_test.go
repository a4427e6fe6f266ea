package imapd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// following is bob, who follows ann's mailboxes. Time is virtual.
type following struct {
	*sharing
	t *testing.T
}

func follow(t *testing.T, rights string, test func(*following)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &following{share(t, 1, rights), t}
		defer func() { f.bob.Close() }()
		test(f)
	})
}

// quiet is what bob is told while he says nothing for so long.
func (f *following) quiet(d time.Duration) string {
	f.t.Helper()
	b := f.bob
	b.next++
	b.frames = nil
	ended := make(chan error)
	go func(n uint64) { ended <- b.Watch(f.t.Context(), n) }(b.next)
	time.Sleep(d) // virtual
	synctest.Wait()
	b.EndIdle(b.next)
	if err := <-ended; err != nil {
		f.t.Fatal(err)
	}
	var out strings.Builder
	for _, s := range b.frames {
		_, rest, _ := strings.Cut(s, " ")
		out.WriteString(rest)
	}
	return out.String()
}

// told holds what bob is told within a second.
func (f *following) told(name, want string) {
	f.t.Helper()
	if got := f.quiet(time.Second); !matchesLines(want, got) {
		f.t.Errorf("%s: told %q, not %q", name, got, want)
	}
}

// matchesLines: of each line a beginning, "" for none at all.
func matchesLines(want, got string) bool {
	lines := strings.Split(strings.TrimSuffix(got, "\r\n"), "\r\n")
	beginnings := strings.Split(want, "\n")
	return len(lines) == len(beginnings) && !slices.ContainsFunc(slices.Collect(indexes(len(lines))), func(i int) bool {
		return !strings.HasPrefix(lines[i], beginnings[i]) || beginnings[i] == "" && lines[i] != ""
	})
}

func indexes(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
		}
	}
}

// elsewhere has bob's session go on at another master.
func (f *following) elsewhere() {
	f.t.Helper()
	before := f.bob.Session
	f.bob.move(f.t)
	before.Close()
}

const (
	followInbox = `NOTIFY SET (mailboxes ` + anns + ` (MessageNew MessageExpunge MailboxName))`
	overflowed  = "* OK [NOTIFICATIONOVERFLOW]"
)

// TestFollowedAccountIsFollowedOnAtAnotherMaster: nothing is left out, and nothing told twice.
func TestFollowedAccountIsFollowedOnAtAnotherMaster(t *testing.T) {
	follow(t, "lr", func(f *following) {
		f.bob.ok(followInbox)
		f.told("at first", "")
		f.ann.fill(1)
		f.elsewhere()
		f.told("in between", "* STATUS "+anns+" (MESSAGES 2 ")
		f.elsewhere()
		f.told("again", "")
		f.ann.fill(1)
		f.told("there", "* STATUS "+anns+" (MESSAGES 3 ")
		f.elsewhere()
		f.ann.ok("DELETEACL INBOX bob")
		f.told("a right is lost", `* LIST (\NoAccess) "/" `+anns)
		f.bob.ok("NOTIFY NONE")
		if len(f.bob.token.Followed) != 0 {
			f.t.Errorf("the token follows %v", f.bob.token.Followed)
		}
	})
}

// TestRegistrationThatIsRepeatedElsewhereFollows, as one whose answer came.
func TestRegistrationThatIsRepeatedElsewhereFollows(t *testing.T) {
	follow(t, "lr", func(f *following) {
		f.bob.lose(f.t, followInbox)
		f.elsewhere()
		f.bob.ok(followInbox)
		f.ann.fill(1)
		f.told("after", "* STATUS "+anns+" (MESSAGES 2 ")
	})
}

// TestWhoDoesNotAnswerDelaysNobodyAndIsFollowedWhenHeDoes.
func TestWhoDoesNotAnswerDelaysNobodyAndIsFollowedWhenHeDoes(t *testing.T) {
	for name, silent := range map[string]func(context.Context, mail.Account) (mail.Account, error){
		"silent": func(ctx context.Context, _ mail.Account) (mail.Account, error) { <-ctx.Done(); return nil, ctx.Err() },
		"moved": func(_ context.Context, a mail.Account) (mail.Account, error) {
			return &failing{Account: a, view: mail.ErrMoved}, nil
		},
		"broken": func(context.Context, mail.Account) (mail.Account, error) { panic("a bug") },
	} {
		follow(t, "lr", func(f *following) {
			var mu sync.Mutex
			open := silent
			f.others.open = func(ctx context.Context, a mail.Account) (mail.Account, error) {
				mu.Lock()
				now := open
				mu.Unlock()
				if now == nil {
					return a, nil
				}
				return now(ctx, a)
			}
			began := time.Now()
			f.bob.ok(`NOTIFY SET STATUS (personal (MessageNew MessageExpunge)) (mailboxes ` + anns + ` (MessageNew MessageExpunge MailboxName))`)
			if d := time.Since(began); d > askTime {
				f.t.Errorf("%s: NOTIFY took %v", name, d)
			}
			began = time.Now()
			f.bob.ok("APPEND Sent {1+}\r\nx")
			f.bob.ok("NOOP")
			if d := time.Since(began); d > 0 {
				f.t.Errorf("%s: commands took %v", name, d)
			}
			f.told(name, "")
			f.elsewhere()
			f.told(name+", elsewhere", "")
			mu.Lock()
			open = nil
			mu.Unlock()
			want := `* LIST (\HasNoChildren) "/" ` + anns + "\n* STATUS " + anns + " (MESSAGES 1 "
			if got := f.quiet(2*retryPause + askTime); !matchesLines(want, got) {
				f.t.Errorf("%s: told %q", name, got)
			}
			f.ann.fill(1)
			f.told(name+", then", "* STATUS "+anns+" (MESSAGES 2 ")
		})
	}
}

// lostly is an account that is not there any more as it was.
type lostly struct {
	mail.Account
	view func(mail.View) (mail.View, error)
}

func (a lostly) View(ctx context.Context) (mail.View, error) {
	v, err := a.Account.View(ctx)
	if err != nil {
		return nil, err
	}
	return a.view(v)
}

// eventless is a View that does not know any more what happened.
type eventless struct{ mail.View }

func (eventless) Events(mail.ModSeq) iter.Seq2[mail.Event, error] {
	return func(yield func(mail.Event, error) bool) { yield(mail.Event{}, mail.ErrBelowFloor) }
}

// eventful, restless and manifold are Views of which there is too much to be told.
type (
	eventful struct{ mail.View }
	restless struct{ mail.View }
	manifold struct{ mail.View }
)

func (eventful) Events(mail.ModSeq) iter.Seq2[mail.Event, error] {
	return each(make([]mail.Event, maxHeard+1))
}

func (v restless) Changed(mail.ModSeq) iter.Seq2[mail.MailboxInfo, error] {
	inbox, _ := v.Lookup(mail.Inbox)
	return each(slices.Repeat([]mail.MailboxInfo{inbox}, maxHeard+1))
}

func (manifold) Mailboxes() iter.Seq2[mail.MailboxInfo, error] {
	return each(make([]mail.MailboxInfo, maxOthersNames+1))
}

// TestWhatCannotBeToldOfAnotherAccountIsToldSo, and then nothing is told until NOTIFY.
func TestWhatCannotBeToldOfAnotherAccountIsToldSo(t *testing.T) {
	for name, lose := range map[string]func(*following, mail.Account) (mail.Account, error){
		"another history": func(_ *following, a mail.Account) (mail.Account, error) { return forked{a}, nil },
		"too old": func(_ *following, a mail.Account) (mail.Account, error) {
			return lostly{a, func(v mail.View) (mail.View, error) { return eventless{v}, nil }}, nil
		},
		"gone": func(*following, mail.Account) (mail.Account, error) { return nil, mail.ErrNoAccount },
		"too many events": func(_ *following, a mail.Account) (mail.Account, error) {
			return lostly{a, func(v mail.View) (mail.View, error) { return eventful{v}, nil }}, nil
		},
		"too many mailboxes": func(_ *following, a mail.Account) (mail.Account, error) {
			return lostly{a, func(v mail.View) (mail.View, error) { return restless{v}, nil }}, nil
		},
		"too many names": func(_ *following, a mail.Account) (mail.Account, error) {
			return lostly{a, func(v mail.View) (mail.View, error) { return manifold{v}, nil }}, nil
		},
		"too much": func(_ *following, a mail.Account) (mail.Account, error) {
			return lostly{a, func(mail.View) (mail.View, error) { return nil, fmt.Errorf("names: %w", mail.ErrLimit) }}, nil
		},
	} {
		follow(t, "lr", func(f *following) {
			f.bob.ok(`NOTIFY SET (personal (MessageNew MessageExpunge)) (mailboxes ` + anns + ` (MessageNew MessageExpunge MailboxName))`)
			f.told(name+", before", "")
			f.others.open = func(_ context.Context, a mail.Account) (mail.Account, error) { return lose(f, a) }
			f.ann.ok("CREATE Another")
			f.ann.ok("SETACL Another bob lr")
			f.elsewhere()
			f.told(name, overflowed)
			f.others.open = nil
			f.ann.fill(1)
			f.told(name+", after", "")
			f.elsewhere()
			f.told(name+", elsewhere", "")
			if n := f.bob.notify; n == nil || len(n.Groups) != 0 || len(f.bob.token.Followed) != 0 {
				f.t.Errorf("%s: goes on with %v", name, n)
			}
		})
	}
}

// TestUserWithAnotherNameIsFollowedNoMore: what was told had the old one.
func TestUserWithAnotherNameIsFollowedNoMore(t *testing.T) {
	follow(t, "lr", func(f *following) {
		f.bob.ok(`NOTIFY SET (subtree "" (MessageNew MessageExpunge))`)
		f.told("before", "")
		f.users.Shared[everybody["ann"]] = true
		if got := f.quiet(resolvePause + time.Second); !strings.HasPrefix(got, overflowed) {
			f.t.Errorf("told %q", got)
		}
		f.bob.ok(`NOTIFY SET (subtree Shared (MessageNew MessageExpunge))`)
		f.ann.fill(1)
		f.told("by the new name", "* STATUS Shared/ann/INBOX (MESSAGES 2 ")
	})
}

// TestGrantIsFollowedSoon, where nobody is named, and what is withdrawn is told.
func TestGrantIsFollowedSoon(t *testing.T) {
	follow(t, `""`, func(f *following) {
		f.bob.ok(`NOTIFY SET (subtree "Other Users" (MessageNew MessageExpunge MailboxName))`)
		f.told("nothing is granted", "")
		f.ann.ok("SETACL INBOX bob lr")
		want := `* LIST (\HasNoChildren) "/" ` + anns + "\n* STATUS " + anns + " (MESSAGES 1 "
		if got := f.quiet(resolvePause); !matchesLines(want, got) {
			f.t.Errorf("granted: told %q", got)
		}
		f.ann.fill(1)
		f.told("new", "* STATUS "+anns+" (MESSAGES 2 ")
		f.ann.ok("DELETEACL INBOX bob")
		if got := f.quiet(resolvePause); !matchesLines(`* LIST (\NoAccess) "/" `+anns, got) {
			f.t.Errorf("withdrawn: told %q", got)
		}
		if got := f.quiet(2 * resolvePause); got != "" || f.bob.follower.follows(everybody["ann"]) {
			f.t.Errorf("told %q, and it is still followed", got)
		}
	})
}

// TestFollowedAccountsAreBounded: a registration for too many is refused, and the one before
// counts; later they end it.
func TestFollowedAccountsAreBounded(t *testing.T) {
	follow(t, "lr", func(f *following) {
		f.bob.ok(followInbox)
		synctest.Wait()
		ids := map[mail.AccountID]string{everybody["ann"]: "ann"}
		for i := range session.MaxFollowed {
			id := mail.AccountID{1, byte(i), 1}
			ids[id] = fmt.Sprintf("u%02d", i)
			f.others.owners = append(f.others.owners, id)
		}
		f.others.names = func(id mail.AccountID) string { return ids[id] }
		ann := f.users.Server.Account(everybody["ann"]).As(everybody["bob"])
		f.bob.cfg.Others = openAny{f.others, func() mail.Account { return ann }}
		all := f.others.owners
		f.others.owners = append(all, everybody["ann"])
		if out, err := f.bob.run(`x NOTIFY SET (subtree "Other Users" (MessageNew MessageExpunge))`); err != nil || !strings.HasPrefix(out, "x NO [NOTIFICATIONOVERFLOW]") {
			f.t.Errorf("got %s, %v", out, err)
		}
		f.ann.fill(1)
		f.told("of the one before", "* STATUS "+anns+" (MESSAGES 2 ")
		f.others.owners = all
		f.bob.ok(`NOTIFY SET (subtree "Other Users" (MessageNew MessageExpunge))`)
		f.told("of the next", "")
		if n := len(f.bob.token.Followed); n != session.MaxFollowed {
			f.t.Errorf("%d accounts are followed", n)
		}
		f.others.owners = append(all, everybody["ann"])
		if got := f.quiet(resolvePause); !strings.HasPrefix(got, overflowed) {
			f.t.Errorf("one more: told %q", got)
		}
	})
}

// counting the watches of an account that are not stopped.
type watchCount struct {
	mail.Account
	mu    *sync.Mutex
	open  *int
	views *int
}

func (a watchCount) Watch(m mail.MailboxID) (<-chan struct{}, func()) {
	ch, stop := a.Account.Watch(m)
	a.mu.Lock()
	*a.open++
	a.mu.Unlock()
	return ch, func() {
		stop()
		a.mu.Lock()
		*a.open--
		a.mu.Unlock()
	}
}

func (a watchCount) View(ctx context.Context) (mail.View, error) {
	a.mu.Lock()
	*a.views++
	a.mu.Unlock()
	return a.Account.View(ctx)
}

// TestFollowingCostsOneWatchAndALookNowAndThen, however much happens and whatever the client
// does itself, and nothing when it ends.
func TestFollowingCostsOneWatchAndALookNowAndThen(t *testing.T) {
	follow(t, "lr", func(f *following) {
		var mu sync.Mutex
		open, views := 0, 0
		f.others.open = func(_ context.Context, a mail.Account) (mail.Account, error) {
			return watchCount{a, &mu, &open, &views}, nil
		}
		count := func(name string, watches, most int) {
			f.t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if open != watches || views > most {
				f.t.Errorf("%s: %d watches are open, and there were %d looks", name, open, views)
			}
			views = 0
		}
		f.bob.ok(followInbox)
		count("at first", 1, 1)
		for range 5 {
			f.told("nothing", "")
			f.bob.ok("NOOP")
		}
		count("while nothing happens", 1, 0)
		for range 100 {
			f.ann.fill(1)
			f.quiet(lookPause / 50)
		}
		count("while much happens", 1, 5)
		f.bob.ok(followInbox)
		count("again", 1, 1)
		f.bob.ok("NOTIFY NONE")
		count("none", 0, 0)
		f.bob.ok(followInbox)
		f.bob.Close()
		count("at the end", 0, 1)
	})
}

// TestFollowerThatCannotFindOutWhomToFollowTriesAgain.
func TestFollowerThatCannotFindOutWhomToFollowTriesAgain(t *testing.T) {
	follow(t, "lr", func(f *following) {
		o := &unfound{Others: f.others, err: errors.New("directory does not answer")}
		f.bob.cfg.Others = o
		f.bob.ok(followInbox)
		f.told("at first", "")
		o.mu.Lock()
		o.err = nil
		o.mu.Unlock()
		want := `* LIST (\HasNoChildren) "/" ` + anns + "\n* STATUS " + anns + " (MESSAGES 1 "
		if got := f.quiet(retryPause + time.Second); !matchesLines(want, got) {
			f.t.Errorf("told %q", got)
		}
	})
}

// unfound are others of whom none can be found by name.
type unfound struct {
	Others
	mu  sync.Mutex
	err error
}

func (o *unfound) User(ctx context.Context, name string) (mail.AccountID, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return mail.AccountID{}, o.err
	}
	return o.Others.User(ctx, name)
}

// TestOnlyWhoAsksForOthersMailboxesHasAFollower: most of NOTIFY is about one's own.
func TestOnlyWhoAsksForOthersMailboxesHasAFollower(t *testing.T) {
	follow(t, "lr", func(f *following) {
		for _, groups := range []string{
			`(personal (MessageNew MessageExpunge)) (inboxes (MessageNew MessageExpunge))`, `(subtree (INBOX Work) (MessageNew MessageExpunge MailboxName))`,
			`(mailboxes (INBOX "") (MessageNew MessageExpunge MailboxName))`, `(selected (MessageNew MessageExpunge))`,
			`(mailboxes ` + anns + ` NONE)`, `(mailboxes ` + anns + ` (ServerMetadataChange))`, `(subscribed (MessageNew MessageExpunge SubscriptionChange))`,
		} {
			f.bob.ok("NOTIFY SET %s", groups)
			f.told(groups, "")
			if f.bob.follower != nil {
				f.t.Errorf("%s: there is a follower", groups)
			}
		}
		f.elsewhere()
		f.told("subscribed, elsewhere", "")
		if f.bob.follower != nil {
			f.t.Error("elsewhere there is a follower")
		}
		other := newDirect(f.t, f.users.Server.Account(everybody["bob"]), 3)
		other.ok("SUBSCRIBE " + anns)
		f.told("the first", "* STATUS "+anns+" (MESSAGES 1 \n"+`* LIST (\HasNoChildren \Subscribed) "/" `+anns)
		f.ann.fill(1)
		f.told("then", "* STATUS "+anns+" (MESSAGES 2 ")
		f.elsewhere()
		f.ann.fill(1)
		f.told("elsewhere", "* STATUS "+anns+" (MESSAGES 3 ")
		other.ok("UNSUBSCRIBE " + anns)
		f.told("not any more", "")
		f.ann.fill(1)
		f.told("nothing", "")
		if f.bob.follower.follows(everybody["ann"]) {
			f.t.Error("she is still followed")
		}
	})
}
