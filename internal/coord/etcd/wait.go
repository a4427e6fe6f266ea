package etcd

import (
	"context"
	"log/slog"
	"strconv"
	"time"
)

// wait is a member's wait for admission; it says now and then for what.
type wait struct {
	log   *slog.Logger
	began time.Time
	tried time.Time // last attempt through the configured endpoints alone
	said  time.Time
	last  string // what was said
	err   error  // of the last attempt to join
}

// pause sleeps for d, or for longer once the wait is a long one.
func (w *wait) pause(ctx context.Context, d time.Duration, round map[string]answer) {
	now := time.Now()
	if now.Sub(w.began) > quickPhase {
		d = waitInterval
	}
	// Machines that start together need not hear of each other's first second.
	news := summary(round)
	if quiet := now.Sub(w.said); now.Sub(w.began) > askTimeout && quiet > askTimeout && (news != w.last || quiet > reportInterval) {
		w.said, w.last = now, news
		w.log.Warn("coordinator member without data waits for the others", "others", news, "err", w.err)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func idString(id uint64) string { return strconv.FormatUint(id, 16) }
