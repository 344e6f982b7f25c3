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

	const pods = "/api/v1/namespaces/default/pods"

	const deployment = `{"metadata":{"name":"web"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},` +
		`"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"nosuch.example/web:1"}]}}}}`

	for _, end := range []string{"Succeeded", "Failed", "never"} {
		pod := `{"metadata":{"name":"` + strings.ToLower(end) + `","labels":{"fake-end":"` + end + `"}},` +
			`"spec":{"restartPolicy":"Never","containers":[{"name":"job","image":"nosuch.example/job:1"}]}}`
		if err := c.client.do(t.Context(), http.MethodPost, c.client.base+pods, "application/json", strings.NewReader(pod), nil); err != nil {
			t.Fatal(err)
		}
	}

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

	want := map[string]string{"succeeded": "Succeeded", "failed": "Failed", "never": "Pending"}
	if err := kwok.ready(ctx, func(ctx context.Context) error {
		for name, phase := range want {
			var pod struct{ Status struct{ Phase string } }
			if err := c.client.get(ctx, pods+"/"+name, &pod); err != nil || pod.Status.Phase != phase {
				return errors.Join(err, errors.New(name+" is "+pod.Status.Phase))
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
