package auth

import (
	"container/list"
	"net/netip"
	"time"
)

// bucket counts failures; one leaks out every so often.
type bucket struct {
	key  string
	full float64
	at   time.Time
}

// limiter holds a bounded number of buckets; the one not touched for longest
// gives way. Its owner locks.
type limiter struct {
	burst float64
	leak  time.Duration // per failure
	max   int
	byKey map[string]*list.Element
	order *list.List // front: touched last
}

func newLimiter(burst int, leak time.Duration, size int) *limiter {
	return &limiter{burst: float64(burst), leak: leak, max: size, byKey: map[string]*list.Element{}, order: list.New()}
}

func (l *limiter) level(key string, now time.Time) float64 {
	e, ok := l.byKey[key]
	if !ok {
		return 0
	}
	b := e.Value.(*bucket)
	return max(0, b.full-float64(now.Sub(b.at))/float64(l.leak))
}

// blocked reports whether key has failed too often.
func (l *limiter) blocked(key string, now time.Time) bool {
	return l.level(key, now) > l.burst-1
}

func (l *limiter) fail(key string, now time.Time) {
	full := min(l.level(key, now)+1, l.burst)
	if e, ok := l.byKey[key]; ok {
		*e.Value.(*bucket) = bucket{key, full, now}
		l.order.MoveToFront(e)
		return
	}
	if l.order.Len() >= l.max {
		oldest := l.order.Back()
		delete(l.byKey, oldest.Value.(*bucket).key)
		l.order.Remove(oldest)
	}
	l.byKey[key] = l.order.PushFront(&bucket{key, full, now})
}

func (l *limiter) forget(key string) {
	if e, ok := l.byKey[key]; ok {
		delete(l.byKey, key)
		l.order.Remove(e)
	}
}

// addressKey is an IPv4 address, or the /64 that one subscriber has of IPv6.
func addressKey(a netip.Addr) string {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
