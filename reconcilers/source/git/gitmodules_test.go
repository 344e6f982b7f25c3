package git

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestModuleURL(t *testing.T) {
	cases := map[string]struct{ parent, raw, want string }{
		"Absolute":   {"https://a/team/app.git", "https://b/x.git", "https://b/x.git"},
		"Sibling":    {"https://a/team/app.git", "../lib.git", "https://a/team/lib.git"},
		"Child":      {"https://a/team/app.git", "./lib.git", "https://a/team/app.git/lib.git"},
		"Up":         {"https://a:8443/team/app.git/", "../../other/lib", "https://a:8443/other/lib"},
		"Dots":       {"https://a/team/app", "././../lib", "https://a/team/lib"},
		"SSH":        {"ssh://a:22/team/app", "../lib", "ssh://a:22/team/lib"},
		"Escaped":    {"https://a/my%20team/app", "../my lib", "https://a/my%20team/my%20lib"},
		"Short":      {"https://a/x", "git@b.example:team/lib.git", "ssh://git@b.example/team/lib.git"},
		"ShortRoot":  {"https://a/x", "b.example:/srv/lib.git", "ssh://b.example/srv/lib.git"},
		"TooFar":     {"https://a/x", "../../y", ""},
		"Back":       {"https://a/x", "../y/../../z", ""},
		"Backslash":  {"https://a/x", `../y\..\..\z`, ""},
		"File":       {"https://a/x", "file:///etc", ""},
		"Git":        {"https://a/x", "git://b/x", ""},
		"Path":       {"https://a/x", "/etc", ""},
		"Drive":      {"https://a/x", `C:\x`, ""},
		"DriveSlash": {"https://a/x", `C:/x`, ""},
		"Command":    {"https://a/x", "ext::sh -c id", ""},
		"Descriptor": {"https://a/x", "fd::17/foo", ""},
		"Nothing":    {"https://a/x", "", ""},
		"NoHost":     {"https://a/x", "https:///x", ""},
		"Control":    {"https://a/x", "https://b/\nx", ""},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			parent, err := url.Parse(tc.parent)
			if err != nil {
				t.Fatal(err)
			}

			got := ""
			if u, err := moduleURL(parent, tc.raw); err == nil {
				got = u.String()
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// FuzzModules holds that whatever stands in the file, no URL but one of HTTP or SSH comes out of it, a relative one stays on its
// server, and no path leads out of the tree.
func FuzzModules(f *testing.F) {
	for _, seed := range []string{
		"", "[submodule \"x\"]\n\tpath = lib\n\turl = ../lib.git\n\tbranch = main\n",
		"[submodule \"x\"]\npath = \"a b\"\nurl = git@host:a/b.git ; comment\n[submodule \"y\"]\npath = y\nurl = https://u:p@h/y\n",
		"[submodule \"../x\"]\npath = ../../etc\nurl = file:///etc/passwd\n", "[submodule \"x\"]\npath = -u\nurl = --upload-pack=id\n",
		"[submodule \"x\\\"]\npath = \\\nurl", "[include]\npath = /etc/passwd\n", "[submodule]\npath=a\nurl=./././b\n",
	} {
		f.Add(seed)
	}

	parent := &url.URL{Scheme: "https", Host: "example.com", Path: "/team/app.git"}

	f.Fuzz(func(t *testing.T, text string) {
		urls, err := readModules(strings.NewReader(text))
		if err != nil {
			return
		}

		for at, raw := range urls {
			if path.IsAbs(at) || at == "" || climbs(at) || at != path.Clean(at) {
				t.Errorf("path %q", at)
			}

			u, err := moduleURL(parent, raw)
			if err != nil {
				continue
			}

			if u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "ssh" || u.Host == "" || climbs(u.Path) && strings.HasPrefix(raw, ".") {
				t.Errorf("%q became %q", raw, u)
			}

			if relative := strings.HasPrefix(raw, "./") || strings.HasPrefix(raw, "../"); relative && u.Host != parent.Host {
				t.Errorf("%q became %q", raw, u)
			}
		}
	})
}
