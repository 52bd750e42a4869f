package deliver

import (
	"errors"
	"testing"
)

func TestSignatureVerifies(t *testing.T) {
	secret, body := []byte("test-secret"), []byte(`{"id":"a"}`)
	signature := Sign(secret, body)
	if !Verify(secret, body, signature) {
		t.Error("its own signature does not verify")
	}
	if Verify(secret, []byte(`{"id":"b"}`), signature) {
		t.Error("another body verifies")
	}
}

func TestCheckAddress(t *testing.T) {
	if err := CheckAddress("https://example.com/hook"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"http://example.com", "https://", "file:///etc/passwd", "::"} {
		if err := CheckAddress(bad); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}
