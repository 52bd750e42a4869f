package auth

import (
	"crypto/sha256"
	"testing"
)

func TestCheck(t *testing.T) {
	keys := Keys{"shop": sha256.Sum256([]byte("test-key"))}
	if !keys.Check("shop", "test-key") {
		t.Error("the right key was refused")
	}
	if keys.Check("shop", "other") || keys.Check("unknown", "test-key") {
		t.Error("a wrong key was taken")
	}
}
