package controllers

import "testing"

func TestIdentity(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		options Options
		want    string
	}{
		"None":        {"Without tenants, the process has an identity that all may use.", Options{}, ""},
		"Impersonate": {"Who is confined to an account has no identity but that.", Options{DefaultServiceAccount: "tenant"}, "tenant"},
		"Identity":    {"The identity may be confined alone.", Options{DefaultWorkloadIdentityServiceAccount: "cloud"}, "cloud"},
		"Both": {
			"Each has its own.",
			Options{DefaultServiceAccount: "tenant", DefaultWorkloadIdentityServiceAccount: "cloud"}, "cloud",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.options.identity(); got != tc.want {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
