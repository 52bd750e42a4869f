// Package client is what other teams import.
package client

import (
	"fmt"
	"net/http"
	"strings"
)

// Client calls courier.
type Client struct {
	Base string
	HTTP *http.Client
}

// Message to be sent.
type Message struct {
	Channel  string            `json:"channel"`
	To       string            `json:"to"`
	Template string            `json:"template"`
	Data     map[string]string `json:"data,omitempty"`
}

// URL of a message.
func (c *Client) URL(id string) string {
	return fmt.Sprintf("%s/messages/%s", strings.TrimRight(c.Base, "/"), id)
}

// Validate tells what is missing.
func (m Message) Validate() error {
	if m.Channel == "" || m.To == "" {
		return fmt.Errorf("channel and to are needed")
	}
	return nil
}
