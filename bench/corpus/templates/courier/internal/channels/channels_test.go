package channels

import "testing"

func TestKnown(t *testing.T) {
	if !Known("sms") || Known("fax") {
		t.Error("sms is a channel, fax is none")
	}
}
