package helmrepo_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/cli"
	"helm.sh/helm/v3/pkg/getter"
	"helm.sh/helm/v3/pkg/repo"

	"github.com/weir-dev/weir/test/helmrepo"
)

func serve(t *testing.T, o helmrepo.Options) *helmrepo.Server {
	t.Helper()

	s, err := helmrepo.Serve(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)

	if err := s.Add(helmrepo.Chart("podinfo", "6.3.5"), helmrepo.Chart("podinfo", "6.4.0")); err != nil {
		t.Fatal(err)
	}

	return s
}

// TestHelm holds that Helm's own client finds its way.
func TestHelm(t *testing.T) {
	cases := map[string]struct {
		reason   string
		options  helmrepo.Options
		password string
		fails    bool
	}{
		"HTTP":  {reason: "A repository without secrets."},
		"Basic": {reason: "With a password.", options: helmrepo.Options{Username: "jane", Password: "secret"}, password: "secret"},
		"Wrong": {
			reason:  "With a wrong one.",
			options: helmrepo.Options{Username: "jane", Password: "secret"}, password: "guess", fails: true,
		},
		"TLS":  {reason: "With certificates.", options: helmrepo.Options{TLS: true, ClientAuth: true}},
		"Gzip": {reason: "A client that does not ask for compression gets none.", options: helmrepo.Options{Gzip: true, ETag: true}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.options)
			cert, key, ca := certificates(t, s)

			url, err := repo.FindChartInAuthAndTLSAndPassRepoURL(s.URL(), "jane", tc.password, "podinfo", "", cert, key, ca,
				false, false, getter.All(&cli.EnvSettings{}))
			if (err != nil) != tc.fails {
				t.Fatalf("%s\n%v", tc.reason, err)
			}

			if want := s.URL() + "/podinfo-6.4.0.tgz"; err == nil && url != want {
				t.Errorf("%s\ngot %q, want %q", tc.reason, url, want)
			}
		})
	}
}

// certificates writes what a client needs into files.
func certificates(t *testing.T, s *helmrepo.Server) (cert, key, ca string) {
	t.Helper()

	if len(s.CA) == 0 {
		return "", "", ""
	}

	c, k, err := s.ClientCertificate()
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	for name, content := range map[string][]byte{"cert": c, "key": k, "ca": s.CA} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	return filepath.Join(dir, "cert"), filepath.Join(dir, "key"), filepath.Join(dir, "ca")
}

func TestPackage(t *testing.T) {
	dir := t.TempDir()

	s, err := helmrepo.Serve(t.Context(), dir, helmrepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)

	if err := s.Add(helmrepo.Chart("podinfo", "6.3.5")); err != nil {
		t.Fatal(err)
	}

	c, err := loader.Load(filepath.Join(dir, "podinfo-6.3.5.tgz"))
	if err != nil {
		t.Fatal(err)
	}

	var names []string
	for _, f := range c.Raw {
		names = append(names, f.Name)
	}

	want := []string{
		"Chart.yaml", "values.yaml", "templates/deployment.yaml", "templates/service.yaml", "values-prod.yaml", "README.md",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	if len(s.Requests()) != 0 {
		t.Errorf("requests: %+v", s.Requests())
	}
}
