package httpapi

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"example.com/courier/internal/queue"
)

func request(t *testing.T, q *queue.Queue, method, path string) int {
	t.Helper()
	recorder := httptest.NewRecorder()
	Handler(q).ServeHTTP(recorder, httptest.NewRequest(method, path, nil))
	return recorder.Code
}

func TestGet(t *testing.T) {
	q := queue.New()
	q.Put(queue.Message{ID: "a"})
	if code := request(t, q, http.MethodGet, "/messages/a"); code != http.StatusOK {
		t.Errorf("got %d", code)
	}
	if code := request(t, q, http.MethodGet, "/messages/b"); code != http.StatusNotFound {
		t.Errorf("got %d", code)
	}
}

func TestDelete(t *testing.T) {
	q := queue.New()
	q.Put(queue.Message{ID: "a"})
	if code := request(t, q, http.MethodDelete, "/messages/a"); code != http.StatusNoContent {
		t.Errorf("got %d", code)
	}
	if code := request(t, q, http.MethodDelete, "/messages/a"); code != http.StatusConflict {
		t.Errorf("got %d", code)
	}
}

func TestOtherMethods(t *testing.T) {
	if code := request(t, queue.New(), http.MethodPatch, "/messages/a"); code != http.StatusMethodNotAllowed {
		t.Errorf("got %d", code)
	}
}
