package build

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseReference(t *testing.T) {
	type want struct {
		File, Repository, Path, Version string
		Timeout                         time.Duration
		Err                             error
	}

	cases := map[string]struct {
		reason, ref string
		want        want
	}{
		"File": {
			"The name of a file is that of a file.", "https://example.org/org/repo/raw/v1/install.yaml?token=x",
			want{File: "https://example.org/org/repo/raw/v1/install.yaml?token=x"},
		},
		"ShortFile": {"A short path too.", "http://example.org/all.json", want{File: "http://example.org/all.json"}},
		"Either": {
			"A path that tells nothing may be both.", "https://example.org/org/repo",
			want{File: "https://example.org/org/repo", Repository: "https://example.org/org/repo"},
		},
		"EitherWithPath": {
			"The repository ends after two elements.", "https://example.org/org/repo/a/b",
			want{File: "https://example.org/org/repo/a/b", Repository: "https://example.org/org/repo", Path: "a/b"},
		},
		"NoRepository": {"One element is none.", "https://example.org/all", want{File: "https://example.org/all"}},
		"Ref": {
			"A version is one of a repository.", "https://example.org/org/repo/a?ref=v1&timeout=5s",
			want{Repository: "https://example.org/org/repo", Path: "a", Version: "v1", Timeout: 5 * time.Second},
		},
		"Version": {
			"It has another name too; ref counts more.", "https://example.org/org/repo?version=v2&ref=v3&timeout=9",
			want{Repository: "https://example.org/org/repo", Version: "v3", Timeout: 9 * time.Second},
		},
		"LongTimeout": {
			"A timeout has an end.", "https://example.org/org/repo?timeout=9999999999999h",
			want{Repository: "https://example.org/org/repo"},
		},
		"LongerTimeout": {
			"In seconds as well.", "https://example.org/org/repo?timeout=99999",
			want{Repository: "https://example.org/org/repo", Timeout: maxFetchTimeout},
		},
		"DoubleSlash": {
			"Two slashes end the repository.", "https://example.org/a/b/c//d/e?ref=main",
			want{Repository: "https://example.org/a/b/c", Path: "d/e", Version: "main"},
		},
		"GitSuffix": {
			"So does .git.", "https://example.org/a/b/c.git/d",
			want{Repository: "https://example.org/a/b/c.git", Path: "d"},
		},
		"DevOps": {
			"And the element after _git.", "https://dev.azure.com/org/project/_git/repo/d/e?version=v1",
			want{Repository: "https://dev.azure.com/org/project/_git/repo", Path: "d/e", Version: "v1"},
		},
		"GitHub": {
			"On GitHub there need be no scheme.", "GitHub.com/org/repo/a?ref=v1",
			want{Repository: "https://github.com/org/repo", Path: "a", Version: "v1"},
		},
		"Forced": {
			"An old way to say that it is a repository.", "git::https://example.org/org/repo",
			want{Repository: "https://example.org/org/repo"},
		},
		"User":      {"A user without a password says nothing.", "https://git@example.org/org/repo?ref=a", want{Repository: "https://example.org/org/repo", Version: "a"}},
		"Password":  {"A password must not stand there.", "https://me:s3cret@example.org/org/repo?ref=a", want{Err: errPassword}},
		"SSH":       {"There are no keys.", "ssh://git@example.org/org/repo", want{Err: errSSH}},
		"SCP":       {"In no form.", "git@github.com:org/repo", want{Err: errSSH}},
		"SCPGitHub": {"On GitHub neither.", "github.com:org/repo", want{Err: errSSH}},
		"Local":     {"The machine's own files are not read.", "file:///etc/repo", want{Err: errFile}},
		"Climbs":    {"The path stays in the repository.", "https://example.org/org/repo//a/../../b", want{Err: errClimbs}},
		"NoHost":    {"There has to be a server.", "https:///org/repo", want{Err: errReference}},
		"NoPath":    {"And something on it.", "https://?ref=x", want{Err: errReference}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if !isRemote(tc.ref) {
				t.Errorf("isRemote(%q): false", tc.ref)
			}

			got := want{}

			r, err := parseReference(tc.ref)
			if r != nil {
				got = want{File: r.file, Repository: r.repository, Path: r.path, Version: r.version, Timeout: r.timeout}
			}

			for e := err; e != nil; e = errors.Unwrap(e) {
				got.Err = e
			}

			if tc.want.Timeout == 0 && tc.want.Err == nil {
				tc.want.Timeout = fetchTimeout
			}

			if diff := cmp.Diff(tc.want, got, cmp.Comparer(errors.Is)); diff != "" {
				t.Errorf("%s\nparseReference(%q): -want, +got:\n%s", tc.reason, tc.ref, diff)
			}
		})
	}
}

func FuzzParseReference(f *testing.F) {
	for _, ref := range []string{"https://a/b/c//d?ref=e&timeout=1s", "github.com/a/b", "git@a:b", "https://a/_git/b/c", "http://a:b@c", "git::https://x.git"} {
		f.Add(ref)
	}

	f.Fuzz(func(t *testing.T, ref string) {
		r, err := parseReference(ref)
		if err != nil {
			return
		}

		if r.file == "" && r.repository == "" || r.timeout <= 0 || r.timeout > maxFetchTimeout {
			t.Errorf("parseReference(%q): %+v", ref, r)
		}

		if base := mountPrefix + "0"; area(pathJoin(base, r.path)) != base {
			t.Errorf("parseReference(%q): path %q leads out of the repository", ref, r.path)
		}
	})
}
