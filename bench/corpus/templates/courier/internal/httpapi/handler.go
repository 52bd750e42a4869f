// Package httpapi serves the API.
package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"example.com/courier/internal/queue"
)

// Handler serves messages of q.
func Handler(q *queue.Queue) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/messages/", func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/messages/")
		switch r.Method {
		case http.MethodGet:
			m, err := q.Get(id)
			if err != nil {
				fail(w, err)
				return
			}
			answer(w, http.StatusOK, map[string]any{"id": m.ID, "state": m.State, "attempts": m.Attempts})
		case http.MethodDelete:
			if err := q.Cancel(id); err != nil {
				fail(w, err)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	})
	return mux
}

func fail(w http.ResponseWriter, err error) {
	code := http.StatusConflict
	if errors.Is(err, queue.ErrNotFound) {
		code = http.StatusNotFound
	}
	answer(w, code, map[string]any{"error": err.Error()})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
