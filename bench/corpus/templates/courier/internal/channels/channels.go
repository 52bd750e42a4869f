// Package channels lists how messages go out.
package channels

//go:generate go run ../../tools/genchannels

// Known tells whether there is such a channel.
func Known(name string) bool {
	for _, one := range All {
		if one == name {
			return true
		}
	}
	return false
}
