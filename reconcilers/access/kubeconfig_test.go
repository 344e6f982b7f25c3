package access

import (
	"errors"
	"strings"
	"testing"
)

// written is a kubeconfig with a server, the fields of a cluster and those of a user, as YAML in one line.
func written(server, cluster, user string) string {
	return `apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: c, user: u}}, {name: other, context: {cluster: d, user: v}}]
clusters: [{name: c, cluster: {server: "` + server + `"` + cluster + `}}, {name: d, cluster: {server: "https://d", certificate-authority: /ca}}]
users: [{name: u, user: {` + user + `}}, {name: v, user: {tokenFile: /token}}]
`
}

func TestKubeconfig(t *testing.T) {
	const (
		server = "https://example.org:6443"
		token  = "token: hush"
		exec   = "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/true, interactiveMode: Never}"
	)

	cases := map[string]struct {
		reason string
		raw    string
		rules  Rules
		want   string
	}{
		"Token":           {"What the current context needs is there; what others do is not looked at.", written(server, "", token), Rules{}, ""},
		"Certificates":    {"Certificates come in the file itself.", written(server, ", certificate-authority-data: YQ==", "client-certificate-data: YQ==, client-key-data: YQ=="), Rules{}, ""},
		"NotYAML":         {"What is not YAML is not quoted.", "token: hush: hush", Rules{}, "parse kubeconfig: it is not the YAML of a kubeconfig"},
		"Empty":           {"An empty one leads nowhere, and not to this cluster.", "", Rules{}, `kubeconfig has no current context: "" is not one of its contexts`},
		"NoServer":        {"Nor does one without a server.", written("", "", token), Rules{}, "kubeconfig: the server is not a URL"},
		"NoScheme":        {"A server is a URL.", written("example.org", "", token), Rules{}, "kubeconfig: the server is not a URL"},
		"Plain":           {"Credentials go over TLS.", written("http://example.org", "", token), Rules{}, `kubeconfig: the server has scheme "http", want https`},
		"PlainAllowed":    {"Unless that is allowed.", written("http://example.org", "", token), Rules{InsecureTLS: true}, ""},
		"Unix":            {"Other schemes never are.", written("unix:///run/x", "", token), Rules{InsecureTLS: true}, "kubeconfig: the server is not a URL"},
		"Credentials":     {"A URL has no credentials.", written("https://a:hush@example.org", "", token), Rules{}, "kubeconfig: the URL of the server has credentials"},
		"Insecure":        {"The server shows who it is.", written(server, ", insecure-skip-tls-verify: true", token), Rules{}, "kubeconfig: insecure-skip-tls-verify is not allowed, unless with the flag insecure-kubeconfig-tls"},
		"InsecureAllowed": {"Unless that is allowed.", written(server, ", insecure-skip-tls-verify: true", token), Rules{InsecureTLS: true}, ""},
		"Authority":       {"Files of the controller are not for tenants.", written(server, ", certificate-authority: /etc/ca", token), Rules{Exec: true, InsecureTLS: true}, "certificate-authority is a file"},
		"Certificate":     {"No file is.", written(server, "", "client-certificate: /etc/crt"), Rules{Exec: true, InsecureTLS: true}, "client-certificate is a file"},
		"Key":             {"Least of all keys.", written(server, "", "client-key: /etc/key"), Rules{Exec: true, InsecureTLS: true}, "client-key is a file"},
		"TokenFile":       {"And tokens.", written(server, "", "tokenFile: /var/run/secrets/token, token: hush"), Rules{Exec: true, InsecureTLS: true}, "tokenFile is a file"},
		"Exec":            {"Programs are not run.", written(server, "", exec), Rules{InsecureTLS: true}, "kubeconfig: exec is not allowed, unless with the flag insecure-kubeconfig-exec"},
		"ExecAllowed":     {"Unless that is allowed.", written(server, "", exec), Rules{Exec: true}, ""},
		"Plugin":          {"Old plugins are gone.", written(server, "", "auth-provider: {name: gcp}"), Rules{Exec: true}, "auth-provider is not supported"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			target, err := Kubeconfig([]byte(tc.raw), tc.rules)

			switch {
			case tc.want == "" && err != nil, tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Fatalf("%s: the error is %v, want %q", tc.reason, err, tc.want)
			case err != nil && strings.Contains(err.Error(), "hush"):
				t.Errorf("the error tells a secret: %v", err)
			case err == nil && target.config.Host == "":
				t.Error("the target has no host")
			}
		})
	}
}

func TestTargetAs(t *testing.T) {
	target, err := Kubeconfig([]byte(written("https://example.org", "", "as: somebody, as-groups: [system:masters], token: t")), Rules{})
	if err != nil {
		t.Fatal(err)
	}

	tenant, err := target.As("ns", "team")
	if err != nil {
		t.Fatal(err)
	}

	if i := tenant.config.Impersonate; i.UserName != "system:serviceaccount:ns:team" || len(i.Groups) > 0 {
		t.Errorf("the tenant acts as %+v", i)
	}

	for _, names := range [][2]string{{"", "team"}, {"ns", ""}, {"ns", "Team"}, {"ns", "a:b"}, {"n:s", "team"}} {
		if _, err := target.As(names[0], names[1]); !errors.Is(err, ErrNoIdentity) {
			t.Errorf("As(%q, %q): the error is %v", names[0], names[1], err)
		}
	}

	if _, err := Endpoint("https://example.org", nil, nil); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("an endpoint without a token: the error is %v", err)
	}
}
