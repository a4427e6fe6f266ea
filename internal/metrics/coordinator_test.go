package metrics

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// answering is a coordinator that answers with err.
type answering struct {
	coord.Coord
	err   error
	clock *ticking
}

func (a *answering) Get(context.Context, string) ([]byte, cluster.Rev, error) {
	a.clock.t = a.clock.t.Add(time.Second)
	return nil, 7, a.err
}

func TestCoordinatorIsReachableWhileItAnswers(t *testing.T) {
	a := &answering{clock: &ticking{noon}}
	c := NewCoord(a, a.clock.now)
	if c.reachable.Load() {
		t.Error("reachable before anybody asked")
	}
	for _, step := range []struct {
		err       error
		reachable bool
		asked     uint64
	}{
		{nil, true, 1},
		{fmt.Errorf("get: %w", coord.ErrUnavailable), false, 2},
		{fmt.Errorf("get: %w", context.Canceled), false, 2}, // says nothing
		{coord.ErrTooMany, true, 3},                         // it answered
		{coord.ErrUnknown, false, 4},
		{context.DeadlineExceeded, false, 5},
		{nil, true, 6},
	} {
		a.err = step.err
		if _, rev, err := c.Get(t.Context(), "k"); err != step.err || rev != 7 {
			t.Errorf("passed on %d, %v", rev, err)
		}
		took := c.asked[opGet].took.Counts()
		if c.reachable.Load() != step.reachable || took.Total() != step.asked || took.Sum != time.Duration(step.asked)*time.Second {
			t.Errorf("after %v: reachable %v, %d questions of %v", step.err, c.reachable.Load(), took.Total(), took.Sum)
		}
	}
	if n := c.asked[opGet].failed.Load(); n != 3 {
		t.Errorf("%d counted as failed", n)
	}
}
