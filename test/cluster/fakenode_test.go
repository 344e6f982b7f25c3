package cluster

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestFakeNode(t *testing.T) {
	c, err := Start(t.Context(), Options{Mode: ControlPlane, FakeNode: true, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop() //nolint:errcheck // nothing of it is needed

	const deployment = `{"metadata":{"name":"web"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},` +
		`"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"nosuch.example/web:1"}]}}}}`

	const deployments = "/apis/apps/v1/namespaces/default/deployments"
	if err := c.client.do(t.Context(), http.MethodPost, c.client.base+deployments, "application/json", strings.NewReader(deployment), nil); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	kwok, err := c.find("kwok")
	if err != nil {
		t.Fatal(err)
	}
	if err := kwok.ready(ctx, func(ctx context.Context) error {
		var web struct {
			Status struct{ AvailableReplicas int }
		}
		if err := c.client.get(ctx, deployments+"/web", &web); err != nil || web.Status.AvailableReplicas == 2 {
			return err
		}
		return errors.New("its replicas are not available")
	}); err != nil {
		t.Fatal(err)
	}
}
