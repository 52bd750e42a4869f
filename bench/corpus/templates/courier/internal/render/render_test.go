package render

import (
	"os"
	"reflect"
	"testing"
)

func TestRender(t *testing.T) {
	got, err := Render("Hello {{ name }}, {{count}} new", map[string]string{"name": "Kim", "count": "3"})
	if err != nil {
		t.Fatal(err)
	}
	if got != "Hello Kim, 3 new" {
		t.Errorf("got %q", got)
	}
}

func TestRenderErrors(t *testing.T) {
	for _, template := range []string{"{{missing}}", "{{open"} {
		if _, err := Render(template, nil); err == nil {
			t.Errorf("%q: no error", template)
		}
	}
}

func TestNames(t *testing.T) {
	if got := Names("{{b}} {{ a }} {{b}}"); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("got %v", got)
	}
}

func TestWelcomeTemplate(t *testing.T) {
	text, err := os.ReadFile("testdata/welcome.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Render(string(text), map[string]string{"name": "Kim", "link": "https://example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "Welcome, Kim!\n\nConfirm here: https://example.com\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
