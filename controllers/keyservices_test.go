package controllers

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/weir-dev/weir/reconcilers/decryption"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
)

func TestWhoami(t *testing.T) {
	for name, tc := range map[string]struct {
		user string
		want types.NamespacedName
		err  string
	}{
		"ServiceAccount": {"system:serviceaccount:flux-system:weir", types.NamespacedName{Namespace: "flux-system", Name: "weir"}, ""},
		"User":           {"admin", types.NamespacedName{}, `the controller is "admin", which is no service account`},
		"Colon":          {"a:b", types.NamespacedName{}, `the controller is "a:b", which is no service account`},
	} {
		t.Run(name, func(t *testing.T) {
			c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
				Create: func(_ context.Context, _ client.WithWatch, obj client.Object, _ ...client.CreateOption) error {
					review, ok := obj.(*authenticationv1.SelfSubjectReview)
					if !ok {
						return errors.New("no review")
					}

					review.Status.UserInfo.Username = tc.user

					return nil
				},
			}).Build()

			got, err := whoami(t.Context(), c)
			if diff := cmp.Diff(tc.want, got); diff != "" || (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
				t.Errorf("error: %v, -want +got:\n%s", err, diff)
			}
		})
	}
}

// TestKeyServices shows that a file cannot make the process ask itself.
func TestKeyServices(t *testing.T) {
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(server.Close)

	p := &Process{Options: Options{Decryption: DecryptionOptions{VaultAddress: server.URL, VaultToken: "t"}}}

	keys, err := p.keyServices(&network{}, nil).For(decryption.Request{Kind: "Kustomization", Namespace: "apps", Name: "app"}, nil)
	if err != nil {
		t.Fatal(err)
	}

	_, err = keys.Unwrap(t.Context(), sops.Recipient{Kind: sops.VaultTransit, Address: server.URL, EnginePath: "transit", KeyName: "k"})
	if err == nil || asked {
		t.Errorf("asked: %t, error: %v", asked, err)
	}
}
