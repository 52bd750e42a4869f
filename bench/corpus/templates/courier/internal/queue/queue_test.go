package queue

import (
	"errors"
	"testing"
	"time"
)

var now = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func TestPutKeepsTheFirst(t *testing.T) {
	q := New()
	if !q.Put(Message{ID: "a", Body: "one"}) {
		t.Fatal("the first was refused")
	}
	if q.Put(Message{ID: "a", Body: "two"}) {
		t.Fatal("the second was taken")
	}
	m, err := q.Get("a")
	if err != nil || m.Body != "one" {
		t.Fatalf("got %q, %v", m.Body, err)
	}
}

func TestGetUnknown(t *testing.T) {
	if _, err := New().Get("x"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v", err)
	}
}

func TestCancel(t *testing.T) {
	q := New()
	q.Put(Message{ID: "a"})
	if err := q.Cancel("a"); err != nil {
		t.Fatal(err)
	}
	if err := q.Cancel("a"); !errors.Is(err, ErrFinal) {
		t.Fatalf("got %v", err)
	}
	if err := q.Cancel("b"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v", err)
	}
}

func TestDueIsOldestFirst(t *testing.T) {
	q := New()
	q.Put(Message{ID: "late", NextAt: now.Add(-time.Minute)})
	q.Put(Message{ID: "early", NextAt: now.Add(-time.Hour)})
	q.Put(Message{ID: "future", NextAt: now.Add(time.Hour)})
	due := q.Due(now)
	if len(due) != 2 || due[0].ID != "early" || due[1].ID != "late" {
		t.Fatalf("got %v", due)
	}
}

func TestDone(t *testing.T) {
	q := New()
	q.Put(Message{ID: "a", NextAt: now})
	q.Done("a", errors.New("refused"), now)
	m, _ := q.Get("a")
	if m.State != Waiting || !m.NextAt.Equal(now.Add(10*time.Second)) {
		t.Fatalf("got %v at %v", m.State, m.NextAt)
	}
	for i := 0; i < MaxAttempts; i++ {
		q.Done("a", errors.New("refused"), now)
	}
	if m, _ := q.Get("a"); m.State != Dead {
		t.Fatalf("got %v", m.State)
	}
}
