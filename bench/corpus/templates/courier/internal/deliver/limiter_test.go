package deliver

import (
	"testing"
	"time"
)

func TestLimiterCountsEachRecipient(t *testing.T) {
	now := time.Unix(1000, 0)
	l := NewLimiter(2)
	for i := 0; i < 2; i++ {
		if !l.Allow("kim", now) {
			t.Fatalf("message %d was held back", i)
		}
	}
	if l.Allow("kim", now) {
		t.Error("the third went through")
	}
	if !l.Allow("lee", now) {
		t.Error("another recipient was held back")
	}
	if !l.Allow("kim", now.Add(time.Minute)) {
		t.Error("a minute later it is still held back")
	}
}
