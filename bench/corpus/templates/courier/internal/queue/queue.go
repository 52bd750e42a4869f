// Package queue holds the messages that wait.
package queue

import (
	"errors"
	"sort"
	"sync"
	"time"
)

// State of a message.
type State string

const (
	Waiting   State = "waiting"
	Sent      State = "sent"
	Dead      State = "dead"
	Cancelled State = "cancelled"
)

// ErrNotFound says that there is no such message.
var ErrNotFound = errors.New("no such message")

// ErrFinal says that a message cannot change any more.
var ErrFinal = errors.New("the message is final")

// Message is one notification.
type Message struct {
	ID       string
	Channel  string
	To       string
	Body     string
	State    State
	Attempts int
	NextAt   time.Time
}

// Queue is safe for concurrent use.
type Queue struct {
	mu       sync.Mutex
	messages map[string]*Message
}

// New makes an empty queue.
func New() *Queue {
	return &Queue{messages: map[string]*Message{}}
}

// Put adds a message; one with the same ID is kept.
func (q *Queue) Put(m Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.messages[m.ID]; ok {
		return false
	}
	m.State = Waiting
	q.messages[m.ID] = &m
	return true
}

// Get returns a copy of the message.
func (q *Queue) Get(id string) (Message, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	m, ok := q.messages[id]
	if !ok {
		return Message{}, ErrNotFound
	}
	return *m, nil
}

// Cancel stops a message that waits.
func (q *Queue) Cancel(id string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	m, ok := q.messages[id]
	if !ok {
		return ErrNotFound
	}
	if m.State != Waiting {
		return ErrFinal
	}
	m.State = Cancelled
	return nil
}

// Due returns the messages that may go out now, the longest waiting first.
func (q *Queue) Due(now time.Time) []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	var due []Message
	for _, m := range q.messages {
		if m.State == Waiting && !m.NextAt.After(now) {
			due = append(due, *m)
		}
	}
	sort.Slice(due, func(i, j int) bool { return due[i].NextAt.Before(due[j].NextAt) })
	return due
}

// Done records how an attempt ended.
func (q *Queue) Done(id string, err error, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	m, ok := q.messages[id]
	if !ok {
		return
	}
	m.Attempts++
	if err == nil {
		m.State = Sent
		return
	}
	if m.Attempts >= MaxAttempts {
		m.State = Dead
		return
	}
	m.NextAt = now.Add(Backoff(m.Attempts))
}
