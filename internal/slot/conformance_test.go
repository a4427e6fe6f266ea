package slot

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
)

func TestSlotHoldsTheContractOfAccounts(t *testing.T) {
	t.Parallel()
	conform(t, newWorld(t, 1), func(a mail.Account) mail.Account { return a })
}

func TestPairHoldsTheContractOfAccounts(t *testing.T) {
	t.Parallel()
	conform(t, newWorld(t, 2), func(a mail.Account) mail.Account { return a })
}

// Whatever is read was moved before.
func TestSlotThatMovesEverythingHoldsTheContractOfAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	n := w.node[0]
	n.cfg.SegmentSize, n.cfg.Hurry.Move = 8<<10, time.Hour
	var once sync.Once
	var m *handledMover
	conform(t, w, func(a mail.Account) mail.Account {
		once.Do(func() { m = &handledMover{mover: n.handMover()} })
		return &movedAccount{a, m}
	})
	packed, chunked, _ := n.located(t)
	if packed < 20*chunked {
		t.Errorf("%d bodies in packs, %d in the journal", packed, chunked)
	}
	t.Logf("%d bodies in packs, %d in the journal, %+v", packed, chunked, n.Stats().Packs)
}

type handledMover struct {
	mu sync.Mutex
	*mover
}

// movedAccount moves all bodies that there are, those in the newest segment too,
// before each look.
type movedAccount struct {
	mail.Account
	m *handledMover
}

func (a *movedAccount) View(ctx context.Context) (mail.View, error) {
	a.m.mu.Lock()
	_, err := a.m.moveAll(ctx, a.m.index.Applied().LSN)
	a.m.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	return a.Account.View(ctx)
}

func conform(t *testing.T, w *world, account func(mail.Account) mail.Account) {
	for _, n := range w.node {
		n.start()
	}
	n := w.lead(0)
	w.inSync()
	mailtest.Run(t, func(t *testing.T) mail.Account {
		var id mail.AccountID
		_, _ = rand.Read(id[:]) // never fails
		if err := n.CreateAccount(t.Context(), id.String(), 0); err != nil {
			t.Fatal(err)
		}
		return account(n.Account(id))
	})
	w.sameEverywhere()
}
