package gitserver_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/weir-dev/weir/test/gitserver"
)

func TestSigned(t *testing.T) {
	makers := map[string]struct {
		program string
		make    func(t *testing.T) (*gitserver.Signer, error)
		armour  string
	}{
		"SSH": {
			program: "ssh-keygen", armour: "-----BEGIN SSH SIGNATURE-----",
			make: func(t *testing.T) (*gitserver.Signer, error) { return gitserver.NewSSHSigner(t.Context()) },
		},
		"GPG": {
			program: "gpg", armour: "-----BEGIN PGP SIGNATURE-----",
			make: func(t *testing.T) (*gitserver.Signer, error) {
				return gitserver.NewGPGSigner(t.Context(), "20250601T000000", "0")
			},
		},
	}

	for name, tc := range makers {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(tc.program); err != nil {
				t.Skip(err)
			}

			s, err := tc.make(t)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)

			_, r := repository(t)
			first := commit(t, r, "main", gitserver.Change{Files: map[string]string{"a": "1"}})

			hash, err := r.CommitSigned(t.Context(), "main", "Sign", gitserver.Change{Files: map[string]string{"b": "2"}}, s)
			if err != nil {
				t.Fatal(err)
			}

			if err := r.TagSigned(t.Context(), "v1", hash, "Release", s); err != nil {
				t.Fatal(err)
			}

			for _, object := range []string{hash, "v1"} {
				if raw, err := r.Git(t.Context(), "cat-file", "-p", object); err != nil || !strings.Contains(raw, tc.armour) {
					t.Errorf("%s is not signed: %v\n%s", object, err, raw)
				}
			}

			if got, _ := r.Git(t.Context(), "ls-tree", "--name-only", hash); got != "a\nb" {
				t.Errorf("files: %q", got)
			}

			if got, _ := r.Git(t.Context(), "rev-parse", hash+"^", "main"); got != first+"\n"+hash {
				t.Errorf("parent and branch: %q", got)
			}
		})
	}
}
