// Package deliver sends messages.
package deliver

import (
	"sync"
	"time"
)

// Limiter lets so many messages a minute through for each recipient.
type Limiter struct {
	mu   sync.Mutex
	rate int
	seen map[string][]time.Time
}

// NewLimiter makes a limiter.
func NewLimiter(rate int) *Limiter {
	return &Limiter{rate: rate, seen: map[string][]time.Time{}}
}

// Allow tells whether a message to the recipient may go out now, and counts it if so.
func (l *Limiter) Allow(to string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.seen[to][:0]
	for _, at := range l.seen[to] {
		if now.Sub(at) < time.Minute {
			kept = append(kept, at)
		}
	}
	if len(kept) >= l.rate {
		l.seen[to] = kept
		return false
	}
	l.seen[to] = append(kept, now)
	return true
}
