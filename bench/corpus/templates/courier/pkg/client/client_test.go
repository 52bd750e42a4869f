package client

import "testing"

func TestURL(t *testing.T) {
	c := &Client{Base: "https://courier.example.com/"}
	if got := c.URL("a"); got != "https://courier.example.com/messages/a" {
		t.Errorf("got %s", got)
	}
}

func TestValidate(t *testing.T) {
	if err := (Message{Channel: "sms", To: "kim"}).Validate(); err != nil {
		t.Error(err)
	}
	if (Message{}).Validate() == nil {
		t.Error("an empty message is valid")
	}
}
