// Package auth checks the keys of calling services.
package auth

import (
	"crypto/sha256"
	"crypto/subtle"
)

// Keys maps a service to the digest of its key.
type Keys map[string][32]byte

// Check tells whether the key belongs to the service.
func (k Keys) Check(service, key string) bool {
	known, ok := k[service]
	given := sha256.Sum256([]byte(key))
	return ok && subtle.ConstantTimeCompare(known[:], given[:]) == 1
}
