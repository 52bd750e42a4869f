package queue

import "time"

// MaxAttempts is how often a message is tried.
const MaxAttempts = 8

const (
	first = 10 * time.Second
	limit = time.Hour
)

// Backoff is the pause after the given number of failed attempts: doubling, at most an hour.
func Backoff(attempts int) time.Duration {
	if attempts < 1 {
		return 0
	}
	pause := first
	for i := 1; i < attempts; i++ {
		pause *= 2
		if pause >= limit {
			return limit
		}
	}
	return pause
}
