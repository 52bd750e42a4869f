package queue

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	cases := []struct {
		name     string
		attempts int
		want     time.Duration
	}{
		{"none", 0, 0},
		{"first", 1, 10 * time.Second},
		{"second", 2, 20 * time.Second},
		{"fifth", 5, 160 * time.Second},
		{"capped", 20, time.Hour},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := Backoff(c.attempts); got != c.want {
				t.Errorf("Backoff(%d) = %v, want %v", c.attempts, got, c.want)
			}
		})
	}
}
