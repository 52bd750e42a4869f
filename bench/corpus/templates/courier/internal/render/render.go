// Package render fills templates.
package render

import (
	"fmt"
	"sort"
	"strings"
)

// Render replaces {{name}} by data; unknown names are an error.
func Render(template string, data map[string]string) (string, error) {
	var out strings.Builder
	rest := template
	for {
		start := strings.Index(rest, "{{")
		if start < 0 {
			out.WriteString(rest)
			return out.String(), nil
		}
		end := strings.Index(rest[start:], "}}")
		if end < 0 {
			return "", fmt.Errorf("a name is not closed")
		}
		name := strings.TrimSpace(rest[start+2 : start+end])
		value, ok := data[name]
		if !ok {
			return "", fmt.Errorf("no value for %q", name)
		}
		out.WriteString(rest[:start])
		out.WriteString(value)
		rest = rest[start+end+2:]
	}
}

// Names lists the names in a template, sorted.
func Names(template string) []string {
	seen := map[string]bool{}
	for _, part := range strings.Split(template, "{{")[1:] {
		if name, _, ok := strings.Cut(part, "}}"); ok {
			seen[strings.TrimSpace(name)] = true
		}
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
